//! All commands of a gateway: those that run, and the last of those that went on in the background.
//!
//! What is known of a command in the background is in the state folder, beside its output: a note
//! when it goes on, and one of its end. So the next gateway can say of each what became of it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use types::{Hash, RunId, SessionKey};

use super::end::{End, Ending, Why};
use super::entry::{About, Entry};
use super::note::Note;
use crate::group::Running;
use crate::launch::Launch;
use crate::output::Output;

/// Commands of one session that run in the background. Each is a process tree and an open file.
const RUNNING_MAX: usize = 16;

/// And of all sessions: more than any machine is of use for.
const RUNNING_ALL_MAX: usize = 256;

/// Commands of one session that have ended and can still be looked at.
const ENDED_MAX: usize = 16;

/// And of all sessions. Each may have a file of 16 MiB.
const ENDED_ALL_MAX: usize = 128;

/// How long the end of all commands of a run may take beyond their grace: SIGKILL and a look.
const KILL: Duration = Duration::from_millis(1_200);

/// The commands of one gateway.
#[derive(Debug)]
pub struct Table {
    /// Where notes and outputs are; nowhere if none.
    folder: Option<PathBuf>,
    grace: Duration,
    ends_bytes_max: usize,
    /// How long one that has ended can still be looked at, in milliseconds.
    keep_ms: AtomicU64,
    /// In the order in which they were started.
    entries: Mutex<Vec<Arc<Entry>>>,
}

/// How many of one session, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    session: usize,
    all: usize,
}

impl Table {
    pub(crate) fn new(folder: Option<PathBuf>, grace: Duration, ends_bytes_max: usize) -> Table {
        let keep_ms = AtomicU64::new(u64::MAX);
        Table { folder, grace, ends_bytes_max, keep_ms, entries: Mutex::default() }
    }

    /// Keeps what has ended so long, from now on.
    pub(crate) fn keep_for(&self, keep: Duration) {
        let ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        self.keep_ms.store(ms, Ordering::Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        // Each change of the list is one call.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the notes of earlier gateways; what ran then has ended with its gateway. Call it once,
    /// with the state folder held.
    pub fn recover(&self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut found = Vec::new();
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            match Note::read(&path) {
                Some(note) => found.push(note),
                // The output of a command that nobody has waited for to its end.
                None => remove_if_alone(&path),
            }
        }
        found.sort_by_key(|note| note.started_ms);
        let mut entries = self.locked();
        for mut note in found {
            let end = match note.ended.take() {
                Some(words) => End::of(Ending::Told(words)),
                None => {
                    let end = End::of(Ending::WithGateway);
                    note.clone().ended_as(&end).write(folder);
                    end
                }
            };
            let Ok(output) = Output::of_file(output_path(folder, &note.id)) else {
                note.remove(folder);
                continue;
            };
            let about = note.about(self.grace);
            entries.push(Entry::of_earlier(about, output, note.started(), end));
        }
        Ok(())
    }

    /// What a session would be told of why it may not have one more in the background.
    pub(crate) fn refusal(&self, session: &SessionKey) -> Option<String> {
        let counts = self.count(session, |entry| entry.end().is_none() && entry.is_background());
        if counts.session >= RUNNING_MAX {
            let n = counts.session;
            return Some(format!(
                "{n} commands of this session run in the background, as many as may: end one with \
                 `process`"
            ));
        }
        (counts.all >= RUNNING_ALL_MAX).then(|| {
            format!("{} commands run in the background of this gateway, as many as may", counts.all)
        })
    }

    fn count(&self, session: &SessionKey, which: impl Fn(&Entry) -> bool) -> Counts {
        let entries = self.locked();
        let which = entries.iter().filter(|entry| which(entry));
        which.fold(Counts { session: 0, all: 0 }, |counts, entry| Counts {
            session: counts.session + usize::from(entry.about.session == *session),
            all: counts.all + 1,
        })
    }

    /// A name for the command of a call: short, and the same for none other.
    pub(crate) fn id_of(idempotency_key: &str) -> String {
        let hash = Hash::of(idempotency_key).to_string();
        let digits: String = hash.chars().filter(char::is_ascii_hexdigit).collect();
        format!("p{}", &digits[digits.len().saturating_sub(10)..])
    }

    /// Starts a command.
    pub(crate) fn start(&self, launch: Launch, about: About) -> io::Result<Arc<Entry>> {
        let path = self.folder.as_deref().map(|folder| output_path(folder, &about.id));
        let output = Arc::new(Output::new(self.ends_bytes_max, path));
        let (running, input) = Running::start(launch, Arc::clone(&output))?;
        let entry = Entry::keep(about, output, running, input);
        self.locked().push(Arc::clone(&entry));
        Ok(entry)
    }

    /// Lets a command go on beside the call that has started it.
    pub(crate) fn release(&self, entry: &Arc<Entry>) {
        entry.set_background();
        if let Some(folder) = self.folder.clone() {
            Note::of(entry).write(&folder);
            let entry = Arc::clone(entry);
            tokio::spawn(async move {
                let end = entry.ended().await;
                // It may have been removed meanwhile, and its note with it.
                if entry.is_background() {
                    Note::of(&entry).ended_as(&end).write_over(&folder);
                }
            });
        }
        self.forget_the_oldest(&entry.about.session);
    }

    /// Forgets what has ended long ago. It is looked for when somebody looks, or one more is kept:
    /// how many there are is bounded anyhow.
    fn forget_the_old(&self) {
        let keep = Duration::from_millis(self.keep_ms.load(Ordering::Relaxed));
        let old = |entry: &&Arc<Entry>| {
            entry.is_background() && entry.ended_for().is_some_and(|since| since > keep)
        };
        let old: Vec<Arc<Entry>> = self.locked().iter().filter(old).cloned().collect();
        for entry in old {
            self.remove(&entry);
        }
    }

    fn forget_the_oldest(&self, session: &SessionKey) {
        self.forget_the_old();
        loop {
            let ended = |entry: &Entry| entry.is_background() && entry.end().is_some();
            let counts = self.count(session, ended);
            let own = counts.session > ENDED_MAX;
            if !own && counts.all <= ENDED_ALL_MAX {
                return;
            }
            let oldest = self
                .locked()
                .iter()
                .find(|entry| ended(entry) && (!own || entry.about.session == *session))
                .cloned();
            match oldest {
                Some(entry) => self.remove(&entry),
                None => return,
            }
        }
    }

    /// Forgets a command, and takes its output away.
    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        self.locked().retain(|other| !Arc::ptr_eq(other, entry));
        entry.output.remove();
        if let Some(folder) = &self.folder {
            Note::of(entry).remove(folder);
        }
    }

    /// A command in the background of `session`.
    pub(crate) fn get(&self, session: &SessionKey, id: &str) -> Option<Arc<Entry>> {
        self.of_session(session).into_iter().find(|entry| entry.about.id == id)
    }

    /// Those in the background of `session`, oldest first.
    pub(crate) fn of_session(&self, session: &SessionKey) -> Vec<Arc<Entry>> {
        self.forget_the_old();
        let of = |entry: &&Arc<Entry>| entry.about.session == *session && entry.is_background();
        self.locked().iter().filter(of).cloned().collect()
    }

    /// Does anything of this run go on in the background?
    pub fn goes_on(&self, run: RunId) -> bool {
        let of_run = |entry: &Arc<Entry>| entry.about.run == run && entry.is_background();
        self.locked().iter().any(|entry| of_run(entry) && entry.end().is_none())
    }

    /// Ends what of a run goes on, and waits until it has ended, but not for ever.
    pub async fn end_run(&self, run: RunId) {
        self.end_all(Why::RunEnded, |entry| entry.about.run == run).await;
    }

    /// Ends everything: the gateway stops.
    pub async fn end(&self) {
        self.end_all(Why::GatewayStops, |_| true).await;
    }

    async fn end_all(&self, why: Why, which: impl Fn(&Entry) -> bool) {
        let entries: Vec<Arc<Entry>> = self.locked().clone();
        let open = entries.into_iter().filter(|entry| entry.end().is_none() && which(entry));
        let open: Vec<Arc<Entry>> = open.collect();
        for entry in &open {
            entry.stop(why);
        }
        let all = async {
            for entry in &open {
                let end = entry.ended().await;
                // The gateway may be gone before anybody else writes it down.
                if let Some(folder) = self.folder.as_deref().filter(|_| entry.is_background()) {
                    Note::of(entry).ended_as(&end).write_over(folder);
                }
            }
        };
        let _late = tokio::time::timeout(self.grace + KILL, all).await;
    }
}

fn output_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.log"))
}

/// Removes an output that no note names.
fn remove_if_alone(path: &Path) {
    let is_output = path.extension().is_some_and(|extension| extension == "log");
    if is_output && !path.with_extension("json").exists() {
        // Tried again at the next start.
        let _ = fs::remove_file(path);
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
