//! The read connections of an open store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::Semaphore;

use super::ask::Snapshot;
use super::link::Link;
use super::open;
use super::summed::Summed;
use crate::error::StoreError;
use crate::query::Job;

/// A bounded number of connections that cannot write. A question waits for one that is free.
#[derive(Debug)]
pub struct Readers {
    path: PathBuf,
    free: Semaphore,
    idle: Mutex<Vec<Connection>>,
    summed: Summed,
}

impl Readers {
    pub fn open(path: &Path, count: usize) -> Result<Readers, StoreError> {
        let idle = (0..count).map(|_| open::reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Readers {
            path: path.to_owned(),
            free: Semaphore::new(count),
            idle: Mutex::new(idle),
            summed: Summed::default(),
        })
    }

    /// Runs `job` on a snapshot, in a thread that may block.
    pub async fn read(self: Arc<Self>, job: Job) -> Result<(), StoreError> {
        let stopped = |what: &str| StoreError::Broken(format!("a read was given up: {what}"));
        let _permit = self.free.acquire().await.map_err(|_| stopped("closed"))?;
        let readers = Arc::clone(&self);
        let read = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let result = snapshot(&connection, &readers.path, &readers.summed, job);
            readers.give_back(connection);
            result
        });
        read.await.map_err(|_| stopped("it panicked"))?
    }

    /// Closes the connections that are not in use.
    pub fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // A question that panicked took its connection with it.
        idle.map_or_else(|| open::reader(&self.path), Ok)
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// Puts a question to the rows as they are now.
pub fn snapshot(
    connection: &Connection,
    path: &Path,
    summed: &Summed,
    job: Job,
) -> Result<(), StoreError> {
    let link = Link { connection, path };
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Deferred)
            .map_err(|error| link.error(error))?;
    job(&Snapshot { link, summed });
    transaction.finish().map_err(|error| link.error(error))
}
