//! The one thread that writes.
//!
//! ```text
//!  commit ─▶ queue ─▶ BEGIN IMMEDIATE, apply, COMMIT ─▶ answer
//!                          │ disk full: free the ballast, once more
//!                          │ I/O error: answer nobody again
//! ```

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use machine::{At, Event};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use types::NodeId;

use super::ballast::Ballast;
use super::columns::Columns;
use super::link::Link;
use super::tx::SqlTx;
use crate::commit::{Apply, Current, Done, Moment, Rules, apply_batch};
use crate::error::StoreError;

/// How long nothing must come before the log is moved into the database. A checkpoint in the
/// middle of work would hold up commits.
const IDLE: Duration = Duration::from_secs(1);

/// How many pages the log must have to be moved while nothing comes. Pages that are written again
/// and again, as the ends of tables are, are then moved once for many commits.
const LOG_PAGES: i64 = 1_000;

/// A batch to be committed.
#[derive(Debug)]
pub struct Job {
    pub moment: Moment,
    pub events: Vec<Event>,
    pub answer: oneshot::Sender<Result<Done, StoreError>>,
    /// A place in the queue.
    pub _permit: OwnedSemaphorePermit,
}

/// The owner of the write connection.
#[derive(Debug)]
pub struct Writer {
    pub connection: Connection,
    pub path: PathBuf,
    pub limits: Current,
    pub node: NodeId,
    pub apply: Apply,
    pub ballast: Ballast,
    /// The error after which nothing can be promised any more.
    pub failed: Option<StoreError>,
}

impl Writer {
    /// Commits jobs until nobody can send any more.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let mut checkpointed = true;
        loop {
            let wait = if checkpointed { Duration::MAX } else { IDLE };
            match receive(jobs, wait) {
                Ok(job) => {
                    let result = self.commit(job.moment, &job.events);
                    checkpointed = false;
                    // Whoever asked may have gone away; the commit stands.
                    let _ = job.answer.send(result);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.checkpoint();
                    checkpointed = true;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn commit(&mut self, moment: Moment, events: &[Event]) -> Result<Done, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.ballast.look(moment.now);
        let mut result = self.transact(moment, events);
        if matches!(result, Err(StoreError::Full { .. })) {
            self.ballast.free(moment.now);
            result = self.transact(moment, events);
        }
        if let Err(error) = &result
            && error.is_fatal()
        {
            tracing::error!(%error, "the store has failed; nothing is committed any more");
            self.failed = Some(error.clone());
        }
        result
    }

    fn transact(&self, moment: Moment, events: &[Event]) -> Result<Done, StoreError> {
        let link = Link { connection: &self.connection, path: &self.path };
        let mut at = At::new(moment.now, moment.seed, self.node);
        let limits = self.limits.get();
        let rules = Rules { limits: &limits, apply: self.apply, full: self.ballast.full() };
        link.run("begin immediate", [])?;
        let done = apply_batch(&mut SqlTx { link }, &mut at, rules, events)
            .and_then(|done| link.run("commit", []).map(|_| done));
        // After some errors SQLite has rolled back by itself.
        if done.is_err() && !self.connection.is_autocommit() {
            link.run("rollback", [])?;
        }
        done
    }

    fn checkpoint(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let link = Link { connection: &self.connection, path: &self.path };
        match move_log(link) {
            Ok(()) => {}
            Err(error) if error.is_fatal() => {
                tracing::error!(%error, "the store has failed while idle");
                self.failed = Some(error);
            }
            // The log stays, and is moved another time.
            Err(error) => tracing::warn!(%error, "the log could not be checkpointed"),
        }
    }
}

/// Moves the log into the database, if there is enough of it.
fn move_log(link: Link<'_>) -> Result<(), StoreError> {
    let log = link.row("pragma wal_checkpoint(noop)", [], pages)?;
    if log.is_some_and(|pages| pages >= LOG_PAGES) {
        link.row("pragma wal_checkpoint(passive)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// The second of the three columns of a checkpoint: the pages in the log, moved or not.
fn pages(c: &mut Columns<'_, '_>) -> rusqlite::Result<i64> {
    let _busy: i64 = c.get()?;
    c.get()
}

/// Waits for a job. A wait without end is not a time-out that is far away: some clocks overflow.
fn receive(jobs: &Receiver<Job>, wait: Duration) -> Result<Job, RecvTimeoutError> {
    if wait == Duration::MAX {
        return jobs.recv().map_err(|_| RecvTimeoutError::Disconnected);
    }
    jobs.recv_timeout(wait)
}
