//! All that outsiders may do: submit an event, read the store, watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine::{Answer, Event, Limits};
use store::Store;
use tokio::sync::{broadcast, mpsc, oneshot};
use types::{AgentId, RunId};

use crate::config::Config;
use crate::edition::{Edition, Editions};
use crate::live::{Live, LiveEvent};

/// Events that may wait for the driver. At 64 a commit, this is a second of work of a slow disk;
/// whoever comes then is told to come again.
pub const QUEUE: usize = 4_096;

/// An event with the one who waits for its answer.
#[derive(Debug)]
pub struct Submission {
    pub event: Event,
    pub answer: Option<oneshot::Sender<Result<Answer, SubmitError>>>,
}

/// Another configuration, with the one who waits until it is in use.
#[derive(Debug)]
pub(crate) struct Change {
    pub config: Config,
    pub done: oneshot::Sender<Result<usize, SubmitError>>,
}

/// Why an event was not applied. Nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("the gateway is busy: {QUEUE} events are waiting; try again")]
    Busy,
    #[error("the gateway is stopping")]
    Stopped,
    #[error("the store could not commit: {0}")]
    Store(String),
    #[error("internal error, a bug: {0}")]
    Bug(String),
}

impl SubmitError {
    /// How long to wait before trying again, if that can help.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            SubmitError::Busy => Some(500),
            SubmitError::Stopped => Some(2_000),
            SubmitError::Store(_) => Some(5_000),
            SubmitError::Bug(_) => None,
        }
    }
}

/// The way in. Cloned freely.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: mpsc::Sender<Submission>,
    store: Arc<dyn Store>,
    live: Live,
    changes: mpsc::Sender<Change>,
    editions: Arc<Mutex<Editions>>,
}

impl Handle {
    pub(crate) fn new(
        queue: mpsc::Sender<Submission>,
        store: Arc<dyn Store>,
        live: Live,
        changes: mpsc::Sender<Change>,
        config: Arc<Config>,
    ) -> Handle {
        let editions = Arc::new(Mutex::new(Editions::new(config, &store)));
        Handle { queue, store, live, changes, editions }
    }

    fn editions(&self) -> MutexGuard<'_, Editions> {
        // They are whole between any two calls, so a poisoned lock is usable.
        self.editions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits an event and waits until it is committed.
    pub async fn submit(&self, event: Event) -> Result<Answer, SubmitError> {
        let (answer, committed) = oneshot::channel();
        let submission = Submission { event, answer: Some(answer) };
        self.queue.try_send(submission).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
            mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
        })?;
        committed.await.map_err(|_| SubmitError::Stopped)?
    }

    /// Hands in a result of the runtime's own work, waiting for room: those are bounded by the
    /// slots of the lanes, and none may be lost to a full queue.
    pub(crate) async fn hand_in(&self, event: Event) {
        // A driver that is gone has stopped for good; the next start finds the step open.
        let _ = self.queue.send(Submission { event, answer: None }).await;
    }

    /// Reads. What they tell is committed.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The present configuration. A run that is open may work with an earlier one.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.present().config)
    }

    pub(crate) fn present(&self) -> Arc<Edition> {
        Arc::clone(&self.editions().present)
    }

    /// What a run of this agent works with.
    pub(crate) fn of_run(&self, run: RunId, agent: &AgentId) -> Arc<Edition> {
        self.editions().of_run(run, agent)
    }

    /// What holds for an agent: as it was when it went, if it is gone.
    pub(crate) fn of_agent(&self, agent: &AgentId) -> Arc<Edition> {
        self.editions().of_agent(agent)
    }

    /// Puts another configuration in the place of the present one. Runs that are open go on with
    /// what they began with; says how many those are.
    pub async fn reconfigure(&self, config: Config) -> Result<usize, SubmitError> {
        let (done, changed) = oneshot::channel();
        let change = Change { config, done };
        self.changes.send(change).await.map_err(|_| SubmitError::Stopped)?;
        changed.await.map_err(|_| SubmitError::Stopped)?
    }

    /// Swaps configuration and limits. To be called between two commits, with the runs that are
    /// open then.
    pub(crate) fn replace(&self, config: Config, open: &[(RunId, AgentId)]) {
        let mut editions = self.editions();
        editions.replace(config, open, &self.store);
        self.store.set_limits(Arc::clone(&editions.limits));
    }

    /// A run has ended: nothing earlier is kept for it.
    pub(crate) fn let_go(&self, run: RunId) {
        let mut editions = self.editions();
        if editions.let_go(run) {
            self.store.set_limits(Arc::clone(&editions.limits));
        }
    }

    /// What the machine decides by now: as configured, with the tools that servers have told of
    /// since.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.editions().limits)
    }

    /// Lets the machine decide by other limits, if `change` says that it has changed them.
    pub(crate) fn change_limits(&self, change: impl FnOnce(&mut Limits) -> bool) -> bool {
        let mut editions = self.editions();
        let mut limits = Limits::clone(&editions.limits);
        let changed = change(&mut limits);
        if changed {
            editions.limits = Arc::new(limits);
            // Held, so that the store gets them in the order in which we have them.
            self.store.set_limits(Arc::clone(&editions.limits));
        }
        changed
    }

    pub fn live(&self) -> &Live {
        &self.live
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Arc<LiveEvent>> {
        self.live.subscribe()
    }
}
