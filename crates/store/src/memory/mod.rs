//! The store in memory: the same promises, but for the disk.
//!
//! The simulator lives in it. What a crash leaves of it is what was committed, and that is all
//! there is: [`Memory::take_over`] is the next start over the same rows.

mod ask;
mod rows;
mod table;
mod tables;
mod tx;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use machine::{At, Event, Limits};
use types::NodeId;

use self::tables::Tables;
use crate::commit::{Apply, Current, Done, Moment, Rules, Store, apply_batch};
use crate::error::StoreError;
use crate::query::{Job, Query, Reads};

/// A store that forgets everything when it is dropped.
pub struct Memory {
    limits: Current,
    apply: Apply,
    inner: Mutex<Inner>,
}

struct Inner {
    tables: Tables,
    node: NodeId,
    full: bool,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("node", &self.lock().node).finish_non_exhaustive()
    }
}

impl Memory {
    pub fn new(limits: Arc<Limits>, node: NodeId, apply: Apply) -> Memory {
        let inner = Inner { tables: Tables::default(), node, full: false };
        Memory { limits: Current::new(limits), apply, inner: Mutex::new(inner) }
    }

    /// Commits in this thread: what the simulator calls.
    pub fn commit_now(&self, moment: Moment, events: &[Event]) -> Done {
        let mut inner = self.lock();
        let Inner { tables, node, full } = &mut *inner;
        let mut at = At::new(moment.now, moment.seed, *node);
        let limits = self.limits.get();
        let rules = Rules { limits: &limits, apply: self.apply, full: *full };
        apply_batch(tables, &mut at, rules, events).expect("memory has no disk that could fail")
    }

    /// Puts questions to the rows, in this thread.
    pub fn ask<T>(
        &self,
        questions: impl FnOnce(&dyn Query) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        questions(&self.lock().tables)
    }

    /// From now on another start of a gateway decides over these rows.
    pub fn take_over(&self, node: NodeId) {
        self.lock().node = node;
    }

    /// Pretends that the disk is full, or that there is room again.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of the machine is caught before it gets here; one of a question changes nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, moment: Moment, events: Vec<Event>) -> Result<Done, StoreError> {
        Ok(self.commit_now(moment, &events))
    }

    fn set_limits(&self, limits: Arc<Limits>) {
        self.limits.set(limits);
    }
}

#[async_trait]
impl Reads for Memory {
    async fn with_snapshot(&self, job: Job) -> Result<(), StoreError> {
        job(&self.lock().tables);
        Ok(())
    }
}
