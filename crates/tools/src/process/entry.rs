//! One command that was started: who keeps it, what it says, and how it ends.
//!
//! A task of its own keeps the command: it hears what is written, watches the time, and ends it and
//! all that it has started. Whoever else has an interest holds an [`Entry`] and asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use types::{RunId, SessionKey};

use super::end::{End, Ending, Why};
use crate::group::Running;
use crate::launch::{Bounds, Input};
use crate::output::Output;
use crate::plain;

/// How long a command may leave its input unread before a write gives up.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked what a command takes that is bounded.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is known of a command when it is started.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) id: String,
    pub(crate) session: SessionKey,
    pub(crate) run: RunId,
    pub(crate) command: String,
    pub(crate) terminal: bool,
    pub(crate) timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    pub(crate) bounds: Option<Bounds>,
}

/// A command, running or over.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) about: About,
    pub(crate) output: Arc<Output>,
    pub(crate) started: SystemTime,
    since: Instant,
    stop: mpsc::Sender<Why>,
    end: watch::Receiver<Option<Arc<End>>>,
    input: tokio::sync::Mutex<Option<Input>>,
    /// Has it an input, open or closed by now?
    reads: bool,
    /// Bytes that polls have shown.
    seen: Mutex<u64>,
    /// Did it go on beside the call that started it?
    background: AtomicBool,
}

impl Entry {
    /// Takes care of a command that has just been started.
    pub(crate) fn keep(
        about: About,
        output: Arc<Output>,
        running: Running,
        input: Option<Input>,
    ) -> Arc<Entry> {
        // One word is enough to end it, and the first counts.
        let (stop, stopped) = mpsc::channel(1);
        let (told, end) = watch::channel(None);
        let since = Instant::now();
        let entry = Arc::new(Entry {
            output,
            started: SystemTime::now(),
            since,
            stop,
            end,
            reads: input.is_some(),
            input: tokio::sync::Mutex::new(input),
            seen: Mutex::new(0),
            background: AtomicBool::new(false),
            about: about.clone(),
        });
        let care = Care { about, since, running, stopped };
        tokio::spawn(async move {
            let end = care.see_it_end().await;
            let _nobody_asks = told.send(Some(Arc::new(end)));
        });
        entry
    }

    /// One of an earlier gateway.
    pub(crate) fn of_earlier(
        about: About,
        output: Output,
        started: SystemTime,
        end: End,
    ) -> Arc<Entry> {
        Arc::new(Entry {
            about,
            output: Arc::new(output),
            started,
            since: Instant::now(),
            stop: mpsc::channel(1).0,
            end: watch::channel(Some(Arc::new(end))).1,
            input: tokio::sync::Mutex::new(None),
            reads: false,
            seen: Mutex::new(0),
            background: AtomicBool::new(true),
        })
    }

    /// How it has ended, if it has.
    pub(crate) fn end(&self) -> Option<Arc<End>> {
        match (&*self.end.borrow(), self.end.has_changed()) {
            (Some(end), _) => Some(Arc::clone(end)),
            (None, Ok(_)) => None,
            (None, Err(_)) => Some(Arc::new(End::lost())),
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> Arc<End> {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or_else(|| Arc::new(End::lost())),
            // Its keeper is gone, and has taken it along.
            Err(_) => self.end().unwrap_or_else(|| Arc::new(End::lost())),
        }
    }

    /// Begins to end it. What was asked first is what is said of it.
    pub(crate) fn stop(&self, why: Why) {
        let _asked_before = self.stop.try_send(why);
    }

    pub(crate) fn set_background(&self) {
        self.background.store(true, Ordering::Relaxed);
        self.output.file();
    }

    pub(crate) fn is_background(&self) -> bool {
        self.background.load(Ordering::Relaxed)
    }

    /// How long ago it has ended; since the start of this gateway if an earlier one had it.
    pub(crate) fn ended_for(&self) -> Option<Duration> {
        self.end().map(|end| self.since.elapsed().saturating_sub(end.took))
    }

    pub(crate) fn runs_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// Waits until it has written something that no poll has shown, or has ended.
    pub(crate) async fn news(&self) {
        let seen = *self.seen();
        tokio::select! {
            () = self.output.more_than(seen) => {}
            _ = self.ended() => {}
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What no poll has shown yet; from now on it has.
    pub(crate) fn unseen(&self) -> String {
        let mut seen = self.seen();
        let news = self.output.since(*seen);
        *seen = news.total;
        let text = self.text(&news.bytes);
        match news.skipped {
            0 => text,
            skipped => format!("[{skipped} bytes before this: see action log]\n{text}"),
        }
    }

    /// The first and the last of all it has written; a poll shows what comes after.
    pub(crate) fn so_far(&self) -> String {
        let mut seen = self.seen();
        *seen = self.output.total();
        self.text(&self.output.ends())
    }

    /// What it has written, as text.
    pub(crate) fn text(&self, bytes: &[u8]) -> String {
        if self.about.terminal { plain::screen(bytes) } else { plain::plain(bytes) }
    }

    /// Writes to it. `end` closes its input after that.
    pub(crate) async fn write(&self, bytes: &[u8], end: bool) -> Result<(), String> {
        if self.end().is_some() {
            return Err("it has ended, and reads nothing any more".to_owned());
        }
        if !self.reads {
            return Err("it has no input: start it with `background` or `pty` true".to_owned());
        }
        let mut slot = self.input.lock().await;
        let input = slot.as_mut().ok_or("its input is closed")?;
        let mut rest = bytes;
        let all = async {
            while !rest.is_empty() {
                let count = input.write(rest).await?;
                rest = &rest[count..];
            }
            std::io::Result::Ok(())
        };
        let written = timeout(WRITE_WITHIN, all).await;
        let count = bytes.len() - rest.len();
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("it took {count} bytes, then: {error}")),
            Err(_) => {
                let (all, seconds) = (bytes.len(), WRITE_WITHIN.as_secs());
                return Err(format!("it read {count} of {all} bytes, and no more for {seconds} s"));
            }
        }
        if end {
            if input.is_terminal() {
                // A terminal has no end of its own: this is what says so to a program.
                input.write(b"\x04").await.map_err(|error| error.to_string())?;
            } else {
                *slot = None;
            }
        }
        Ok(())
    }
}

/// What the keeper of a command needs.
struct Care {
    about: About,
    since: Instant,
    running: Running,
    stopped: mpsc::Receiver<Why>,
}

impl Care {
    async fn see_it_end(mut self) -> End {
        let grace = self.about.grace;
        let mut asked = true;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ending = loop {
            tokio::select! {
                _ = look.tick(), if self.about.bounds.is_some() => {
                    if let Some(what) = self.too_much().await {
                        break Ending::TookTooMuch(what);
                    }
                }
                status = self.running.exited() => break match status {
                    Ok(status) => Ending::Exited(status),
                    Err(error) => Ending::Unknown(error.to_string()),
                },
                () = tokio::time::sleep_until(self.since + self.about.timeout) => {
                    break Ending::TimedOut(self.about.timeout);
                }
                why = self.stopped.recv(), if asked => match why {
                    Some(why) => break Ending::Stopped(why),
                    // Nobody can ask any more; it ends by itself or by its time.
                    None => asked = false,
                },
            }
        };
        let remains = match ending {
            Ending::Exited(_) => self.running.clear(grace).await,
            Ending::TookTooMuch(_) | Ending::Stopped(Why::Dropped) => {
                self.running.stop(Duration::ZERO).await
            }
            _ => self.running.stop(grace).await,
        };
        self.running.rest().await;
        End { ending, remains, took: self.since.elapsed(), grace }
    }

    /// What it takes beyond its bounds, in words.
    async fn too_much(&mut self) -> Option<String> {
        let bounds = self.about.bounds?;
        let (processes, memory_bytes) = self.running.load().await;
        if processes > bounds.processes {
            return Some(format!("{processes} processes, more than {}", bounds.processes));
        }
        let mib = |bytes: u64| bytes >> 20;
        (memory_bytes > bounds.memory_bytes).then(|| {
            let (took, most) = (mib(memory_bytes), mib(bounds.memory_bytes));
            format!("{took} MiB of memory, more than {most}")
        })
    }
}
