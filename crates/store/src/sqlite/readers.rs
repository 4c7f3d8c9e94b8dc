//! The read connections of an open store, each in a thread of its own.
//!
//! Threads that come and go, as those of a pool for whatever blocks, would each keep some of what a
//! connection has read: memory would follow the number of threads that have ever asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::ask::Snapshot;
use super::link::Link;
use super::open;
use super::summed::Summed;
use crate::error::StoreError;
use crate::query::Job;

/// A bounded number of connections that cannot write. A question waits for one that is free.
#[derive(Debug)]
pub struct Readers {
    places: Arc<Semaphore>,
    // As long as the places: sending never blocks.
    questions: Option<SyncSender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

/// A question, and who waits until it has been put.
struct Question {
    job: Job,
    answer: oneshot::Sender<Result<(), StoreError>>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub fn open(path: &Path, count: usize) -> Result<Readers, StoreError> {
        let (questions, queue) = sync_channel(count);
        let (queue, summed) = (Arc::new(Mutex::new(queue)), Arc::new(Summed::default()));
        let mut threads = Vec::with_capacity(count);
        for _ in 0..count {
            let connection = Some(open::reader(path)?);
            let (queue, summed) = (Arc::clone(&queue), Arc::clone(&summed));
            let seat = Seat { path: path.to_owned(), connection, queue, summed };
            let thread = std::thread::Builder::new()
                .name("store-reader".to_owned())
                .spawn(move || seat.answer_all())
                .map_err(|error| {
                    let reason = format!("no thread to read in: {error}");
                    StoreError::Io { path: path.to_owned(), reason }
                })?;
            threads.push(thread);
        }
        let places = Arc::new(Semaphore::new(count));
        Ok(Readers { places, questions: Some(questions), threads })
    }

    /// Runs `job` on a snapshot, in a thread that may block.
    pub async fn read(&self, job: Job) -> Result<(), StoreError> {
        let stopped = |what: &str| StoreError::Broken(format!("a read was given up: {what}"));
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| stopped("closed"))?;
        let (answer, answered) = oneshot::channel();
        let questions = self.questions.as_ref().ok_or_else(|| stopped("closed"))?;
        questions
            .send(Question { job, answer, _permit: place })
            .map_err(|_| stopped("its threads have ended"))?;
        answered.await.map_err(|_| stopped("it panicked"))?
    }

    /// Closes the connections, once what was asked has been answered.
    pub fn close(&mut self) {
        self.questions = None;
        let here = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // A question may hold the last of its store: a thread does not wait for itself.
            if thread.thread().id() != here && thread.join().is_err() {
                tracing::error!("a reader panicked");
            }
        }
    }
}

/// One of the threads.
struct Seat {
    path: PathBuf,
    connection: Option<Connection>,
    queue: Arc<Mutex<Receiver<Question>>>,
    summed: Arc<Summed>,
}

impl Seat {
    /// Puts questions until nobody can ask any more.
    fn answer_all(mut self) {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Question { job, answer, _permit }) = next else { return };
            // Whoever asked may have gone away.
            let put = AssertUnwindSafe(|| self.put(job));
            // A question that panicked drops the answer, which says so.
            if let Ok(result) = catch_unwind(put) {
                let _ = answer.send(result);
            }
        }
    }

    fn put(&mut self, job: Job) -> Result<(), StoreError> {
        // A question that panicked took its connection with it.
        let connection = self.connection.take().map_or_else(|| open::reader(&self.path), Ok)?;
        let result = snapshot(&connection, &self.path, &self.summed, job);
        self.connection = Some(connection);
        result
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_that_panics_is_told_so_and_the_next_ones_are_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.db");
        let writer = open::writer(&path, None).unwrap();
        let mut readers = Readers::open(&path, 2).unwrap();
        for _ in 0..4 {
            let error = readers.read(Box::new(|_| panic!("asked for"))).await.unwrap_err();
            assert!(error.to_string().contains("it panicked"), "{error}");
        }
        let (told, answer) = oneshot::channel();
        let job: Job = Box::new(|rows| told.send(rows.tally(types::Timestamp(0))).unwrap());
        readers.read(job).await.unwrap();
        answer.await.unwrap().unwrap();

        readers.close();
        let error = readers.read(Box::new(|_| ())).await.unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
        drop(writer);
        // Nothing is open any more: the log has gone into the database.
        assert!(!folder.path().join("w.db-wal").exists());
    }
}
