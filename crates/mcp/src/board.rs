//! What tools are known, now and after a restart.
//!
//! The last list of each server lies in a file, under the hash of its configuration: the next
//! start offers the same tools without starting the server, so that the prefix of a session stays
//! the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::Tool;
use serde::{Deserialize, Serialize};
use types::Hash;

use crate::config::ServerConfig;
use crate::spec::{Offer, TOOLS_MAX, offers};

/// Longest list that is kept. A longer one holds for this life of the gateway only.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The tools of all servers.
#[derive(Debug)]
pub(crate) struct Board {
    folder: PathBuf,
    known: Mutex<BTreeMap<String, Known>>,
    /// Counts the changes.
    changes: AtomicU64,
}

#[derive(Clone, Debug)]
struct Known {
    config: ServerConfig,
    /// None until it was asked once.
    offers: Option<Vec<Offer>>,
    failed: bool,
}

/// A list as it lies in its file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    config: Hash,
    pub(crate) tools: Vec<Tool>,
}

impl Board {
    /// Nothing is known yet.
    pub(crate) fn new(folder: &Path) -> Board {
        let (known, changes) = (Mutex::default(), AtomicU64::new(0));
        Board { folder: folder.to_owned(), known, changes }
    }

    /// From now on these servers are there. What is known of one that is as before stays; of any
    /// other, what was kept of it counts.
    pub(crate) fn serve(&self, servers: &[ServerConfig]) {
        let mut known = self.locked();
        let before = std::mem::take(&mut *known);
        for config in servers {
            let same = before.get(&config.name).filter(|known| known.config == *config);
            let now = same.cloned().unwrap_or_else(|| {
                let kept = read(&self.folder, config);
                let offers = kept.map(|kept| offers(config, &kept.tools));
                Known { config: config.clone(), offers, failed: false }
            });
            known.insert(config.name.clone(), now);
        }
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // The map is whole between any two of its calls, so a poisoned lock is usable.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a server offers, and keeps it for the next start.
    pub(crate) fn set_tools(&self, config: &ServerConfig, mut tools: Vec<Tool>) {
        // The order in which a server lists them is no news.
        tools.sort_by(|one, other| one.name.cmp(&other.name));
        let offers = offers(config, &tools);
        let mut known = self.locked();
        // One that has left, or was put in the place of another, has nothing to say any more.
        let entry = known.get_mut(&config.name).filter(|known| known.config == *config);
        let Some(entry) = entry else { return };
        entry.failed = false;
        if entry.offers.as_ref() == Some(&offers) {
            return;
        }
        entry.offers = Some(offers);
        drop(known);
        if let Err(error) = self.keep(config, tools) {
            tracing::warn!(server = config.name, %error, "its tools are not kept for a restart");
        }
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that a server could not be asked.
    pub(crate) fn set_failed(&self, config: &ServerConfig, why: &str) {
        let mut known = self.locked();
        let entry = known.get_mut(&config.name).filter(|known| known.config == *config);
        let Some(entry) = entry else { return };
        entry.failed = true;
        drop(known);
        self.set_error(&config.name, why);
    }

    /// Keeps why a server does not start, or was lost, for whoever looks how it stands.
    pub(crate) fn set_error(&self, server: &str, why: &str) {
        let kept = fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(error_file(&self.folder, server), why));
        if let Err(error) = kept {
            tracing::warn!(server, %error, "its last error is not kept");
        }
    }

    /// It is up again.
    pub(crate) fn clear_error(&self, server: &str) {
        // None is there, most of the time.
        let _ = fs::remove_file(error_file(&self.folder, server));
    }

    /// Could it not be asked, the last time?
    pub(crate) fn has_failed(&self, server: &str) -> bool {
        self.locked().get(server).is_some_and(|known| known.failed)
    }

    /// Has this server ever told its tools?
    pub(crate) fn knows(&self, server: &str) -> bool {
        self.locked().get(server).is_some_and(|known| known.offers.is_some())
    }

    /// What there is, and how many changes it has seen.
    pub(crate) fn offers(&self) -> (u64, BTreeMap<String, Vec<Offer>>) {
        let known = self.locked();
        let offers =
            known.iter().filter_map(|(name, known)| Some((name.clone(), known.offers.clone()?)));
        (self.changes.load(Ordering::SeqCst), offers.collect())
    }

    fn keep(&self, config: &ServerConfig, mut tools: Vec<Tool>) -> io::Result<()> {
        tools.truncate(2 * TOOLS_MAX);
        let text = serde_json::to_string(&Kept { config: config.hash(), tools })?;
        if text.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("they are {} bytes", text.len())));
        }
        fs::create_dir_all(&self.folder)?;
        let path = file(&self.folder, &config.name);
        // It gets its name when it is whole.
        let partial = path.with_extension("partial");
        fs::write(&partial, text)?;
        fs::rename(partial, path)
    }
}

fn error_file(folder: &Path, server: &str) -> PathBuf {
    folder.join(format!("{server}.error"))
}

/// Why a server did not start, or was lost, the last time; none if it is up, or was never needed.
pub(crate) fn last_error(folder: &Path, server: &str) -> Option<String> {
    let why = fs::read_to_string(error_file(folder, server)).ok()?;
    Some(why).filter(|why| !why.is_empty())
}

fn file(folder: &Path, server: &str) -> PathBuf {
    folder.join(format!("{server}.json"))
}

/// The list that was kept of a server, if it is of this configuration.
pub(crate) fn read(folder: &Path, config: &ServerConfig) -> Option<Kept> {
    let text = fs::read_to_string(file(folder, &config.name)).ok()?;
    // One that cannot be read is asked for again.
    let kept: Kept = serde_json::from_str(&text).ok()?;
    (kept.config == config.hash()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::Map;

    use super::*;
    use crate::config::Reach;

    fn config(args: &[&str]) -> ServerConfig {
        ServerConfig {
            name: "s".to_owned(),
            reach: Reach::Stdio {
                command: "cat".to_owned(),
                args: args.iter().map(|&arg| arg.to_owned()).collect(),
                env: BTreeMap::new(),
                cwd: None,
            },
            connect_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(1),
            include: Vec::new(),
            exclude: Vec::new(),
            trusted: false,
            parallel: true,
        }
    }

    fn tools(names: &[&str]) -> Vec<Tool> {
        let tool = |name: &&str| Tool::new((*name).to_owned(), "d", Arc::new(Map::new()));
        names.iter().map(tool).collect()
    }

    #[test]
    fn a_list_is_there_after_a_restart_and_not_for_another_server() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (config(&[]), config(&["-u"]));
        let of = |servers: &[ServerConfig]| {
            let board = Board::new(folder.path());
            board.serve(servers);
            board
        };
        let board = of(std::slice::from_ref(&one));
        assert!(!board.knows("s"));
        board.set_tools(&one, tools(&["b", "a"]));
        let told = board.offers().0;
        assert!(board.knows("s"));
        board.set_tools(&one, tools(&["a", "b"]));
        assert_eq!(board.offers().0, told, "the same in another order is no change");

        let (_, before) = board.offers();
        let (_, after) = of(std::slice::from_ref(&one)).offers();
        assert_eq!(before, after);
        assert!(!of(&[other]).knows("s"));
        fs::write(folder.path().join("s.json"), "{").unwrap();
        assert!(!of(&[one]).knows("s"), "a damaged file is asked for again");
    }

    #[test]
    fn one_that_has_left_says_nothing_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (config(&[]), ServerConfig { name: "o".to_owned(), ..config(&[]) });
        let filtered = ServerConfig { exclude: vec!["a".to_owned()], ..one.clone() };
        let board = Board::new(folder.path());
        let names = |board: &Board| -> Vec<String> {
            let offers = board.offers().1.into_values().flatten();
            offers.map(|offer| offer.theirs).collect()
        };
        board.serve(&[one.clone(), other.clone()]);
        board.set_tools(&one, tools(&["a", "b"]));
        board.set_tools(&other, tools(&["c"]));
        board.serve(&[filtered.clone(), other.clone()]);
        assert_eq!(names(&board), ["c", "b"], "what was kept, by the filter of now");
        board.set_tools(&one, tools(&["a"]));
        board.set_failed(&one, "it is not there");
        assert_eq!(names(&board), ["c", "b"]);
        assert!(!board.has_failed("s"));
        board.serve(&[filtered]);
        board.set_tools(&other, tools(&["c", "d"]));
        assert_eq!(names(&board), ["b"]);
    }
}
