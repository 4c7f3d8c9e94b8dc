//! The store in a file: `windlass.db` in the state folder.
//!
//! ```text
//!  commit ──▶ queue ──▶ writer thread ──▶ the write connection ──┐
//!  reads ───▶ two read connections (query_only) ─────────────────┴─▶ windlass.db
//! ```
//!
//! # Invariants
//!
//! - One process writes: it holds the lock file. One thread of it writes: it owns the connection.
//! - A commit that was answered is synced.
//! - After an I/O error nobody is answered again; the next start finds out what was written.

mod approvals;
mod ask;
mod ballast;
mod budget;
mod change;
mod columns;
mod copy;
mod inspect;
mod kept;
mod link;
mod lock;
mod messages;
mod migrate;
mod open;
mod open_rows;
mod place;
mod put;
mod readers;
mod rows;
mod sessions;
mod tasks;
mod summed;
mod tx;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use async_trait::async_trait;
use machine::{Event, Limits};
use tokio::sync::{Semaphore, oneshot};
use types::{NodeId, Timestamp};

use self::ballast::Ballast;
use self::lock::Lock;
use self::readers::Readers;
use self::writer::{Job, Writer};
use crate::commit::{Apply, Current, Done, Moment, Store};
use crate::error::StoreError;
use crate::query::{self, Reads};

pub use self::inspect::{Check, Reader};

/// Name of the database in the state folder.
pub const FILE: &str = "windlass.db";

/// Read connections. Each holds a cache, and reads are short.
const READERS: usize = 2;

/// Batches that wait for the writer. The driver sends one at a time; a few more are tests and
/// verbs.
const QUEUE: usize = 16;

/// What may be set about a store. The default is right everywhere but in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of the file that is given up when the disk is full.
    pub ballast_bytes: u64,
    /// Use a network file system against the advice.
    pub allow_network_fs: bool,
    /// Bound on the size of the database, in pages: a disk that is full at will.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options { ballast_bytes: ballast::BYTES, allow_network_fs: false, max_pages: None }
    }
}

/// A store in a file. Dropping it commits what was sent, closes the file and releases the lock.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    // As long as the places: sending never blocks.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    places: Arc<Semaphore>,
    limits: Current,
    readers: Readers,
    _lock: Lock,
}

impl Sqlite {
    /// Opens the store of a state folder, and makes both if they are not there.
    pub fn open(
        dir: &Path,
        limits: Arc<Limits>,
        node: NodeId,
        apply: Apply,
    ) -> Result<Sqlite, StoreError> {
        Sqlite::open_with(dir, &Options::default(), limits, node, apply)
    }

    pub fn open_with(
        dir: &Path,
        options: &Options,
        limits: Arc<Limits>,
        node: NodeId,
        apply: Apply,
    ) -> Result<Sqlite, StoreError> {
        open::check_version()?;
        std::fs::create_dir_all(dir).map_err(|error| StoreError::NotWritable {
            path: dir.to_owned(),
            reason: error.to_string(),
        })?;
        if !options.allow_network_fs {
            place::check(dir)?;
        }
        sync_folder(dir);
        let lock = Lock::take(dir)?;
        let path = dir.join(FILE);
        let mut ballast = Ballast::lay(dir, options.ballast_bytes);
        let mut opened = open::writer(&path, options.max_pages);
        if matches!(opened, Err(StoreError::Full { .. })) {
            // A start on a full disk goes as far as a commit on one.
            ballast.free(Timestamp(0));
            opened = open::writer(&path, options.max_pages);
        }
        let connection = opened?;
        let readers = Readers::open(&path, READERS)?;
        let limits = Current::new(limits);
        let writer = Writer {
            connection,
            path: path.clone(),
            limits: limits.clone(),
            node,
            apply,
            ballast,
            failed: None,
        };
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| StoreError::Io { path: path.clone(), reason: error.to_string() })?;
        Ok(Sqlite {
            path,
            jobs: Some(jobs),
            thread: Some(thread),
            places: Arc::new(Semaphore::new(QUEUE)),
            limits,
            readers,
            _lock: lock,
        })
    }

    /// Opens the file of a state folder for reading only, whether or not a gateway has it open.
    pub fn open_reader(dir: &Path) -> Result<Reader, StoreError> {
        Reader::open(&dir.join(FILE))
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the live database to `to`, which must not exist. Commits go on meanwhile.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let (path, to) = (self.path.clone(), to.to_owned());
        self.aside(move || inspect::backup(&path, &to)).await
    }

    /// Checks the whole file, and the invariants of what is in it. Commits go on meanwhile.
    pub async fn check(&self, limits: Arc<Limits>) -> Result<Check, StoreError> {
        let path = self.path.clone();
        self.aside(move || Reader::open(&path)?.check(&limits)).await
    }

    /// Does slow work on a connection of its own, so that readers do not wait for it.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = |_| StoreError::Broken("work on the database panicked".to_owned());
        tokio::task::spawn_blocking(work).await.map_err(stopped)?
    }

    fn gone(&self) -> StoreError {
        StoreError::Io { path: self.path.clone(), reason: "the writer has stopped".to_owned() }
    }
}

/// A folder that was just made is on the disk when the one above it is synced. SQLite syncs the
/// folder of its files by itself.
fn sync_folder(dir: &Path) {
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    let synced =
        std::fs::File::open(above.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
    if let Err(error) = synced {
        tracing::warn!(path = %dir.display(), %error, "the folder above could not be synced");
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn commit(&self, moment: Moment, events: Vec<Event>) -> Result<Done, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| self.gone())?;
        let (answer, answered) = oneshot::channel();
        let job = Job { moment, events, answer, _permit: place };
        let jobs = self.jobs.as_ref().ok_or_else(|| self.gone())?;
        jobs.send(job).map_err(|_| self.gone())?;
        answered.await.map_err(|_| self.gone())?
    }

    fn set_limits(&self, limits: Arc<Limits>) {
        self.limits.set(limits);
    }
}

#[async_trait]
impl Reads for Sqlite {
    async fn with_snapshot(&self, job: query::Job) -> Result<(), StoreError> {
        self.readers.read(job).await
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // Whoever closes last moves the log into the database, and only the writer can.
        self.readers.close();
        // The writer ends when nobody can send any more; the lock is released after it.
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the writer panicked");
        }
    }
}
