//! The heart: take, commit, answer, act.

use std::sync::Arc;
use std::time::Duration;

use machine::limits::{BATCH, BEAT};
use machine::{Event, Notice};
use store::query::ask;
use store::{EventError, Moment, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::{NodeId, Timestamp};

use crate::clock::Clock;
use crate::config::Config;
use crate::handle::{Change, Handle, QUEUE, Submission, SubmitError};
use crate::live::{Live, LiveEvent};
use crate::perform::Performer;

/// How long the driver waits before it tries a commit again that has failed without harm.
const RETRY_COMMIT: Duration = Duration::from_secs(1);

/// Longest sleep of the driver: timers are read anew at least this often, so a clock that was set
/// back does not hold them up for longer.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Why the driver has stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The store is in doubt, or would not commit while the gateway was being stopped. The process
    /// must exit and start anew: recovery is the only repair.
    #[error("the store has failed, and nothing more can be promised: {0}")]
    Store(#[source] StoreError),
}

/// The loop over one store.
#[derive(Debug)]
pub struct Driver {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    queue: mpsc::Receiver<Submission>,
    changes: mpsc::Receiver<Change>,
    handle: Handle,
    performer: Performer,
    live: Live,
    next_wake: Option<Timestamp>,
    drain: Duration,
    shutdown: CancellationToken,
}

/// Who starts: written into the node's row.
#[derive(Clone, Debug)]
pub struct Incarnation {
    pub node: NodeId,
    pub pid: u32,
    pub version: String,
}

impl Driver {
    /// Makes a driver over an opened store. It begins to drain when `shutdown` is cancelled.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: Arc<Config>,
        shutdown: CancellationToken,
    ) -> (Driver, Handle) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let live = Live::default();
        let drain = config.drain;
        // One at a time: who comes meanwhile waits.
        let (change, changes) = mpsc::channel(1);
        let handle = Handle::new(sender, Arc::clone(&store), live.clone(), change, config);
        let performer = Performer::new(handle.clone(), Arc::clone(&clock));
        let driver = Driver {
            store,
            clock,
            queue,
            changes,
            handle: handle.clone(),
            performer,
            live,
            next_wake: None,
            drain,
            shutdown,
        };
        (driver, handle)
    }

    /// Announces this node, takes over what another has left, and runs until the drain is over.
    pub async fn run(mut self, who: Incarnation) -> Result<(), DriverError> {
        let Incarnation { node, pid, version } = who;
        self.commit(vec![own(Event::NodeStarted { node, pid, version })]).await?;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let alarm = self.until_next_wake();
            tokio::select! {
                _ = self.queue.recv_many(&mut batch, BATCH) => {}
                () = tokio::time::sleep(alarm) => batch.push(own(Event::Tick)),
                _ = beat.tick() => batch.push(own(Event::Beat)),
                Some(change) = self.changes.recv() => {
                    self.change(change).await?;
                    continue;
                }
                () = self.shutdown.cancelled() => return self.drain(beat).await,
            }
            self.commit(std::mem::take(&mut batch)).await?;
        }
    }

    fn until_next_wake(&self) -> Duration {
        let due = self.next_wake.map_or(SLEEP_MAX, |due| due.since(self.clock.now()));
        due.min(SLEEP_MAX)
    }

    /// Takes another configuration. Nothing is committed meanwhile: what is open now goes on with
    /// what it has, and what is opened from here on has the new one.
    async fn change(&mut self, change: Change) -> Result<(), DriverError> {
        let open = match ask(&*self.store, |rows| rows.open_runs()).await {
            Ok(open) => open,
            Err(error) => {
                let _ = change.done.send(Err(SubmitError::Store(error.to_string())));
                return Ok(());
            }
        };
        self.handle.replace(change.config, &open);
        self.commit(vec![own(Event::Reconfigured)]).await?;
        let _ = change.done.send(Ok(open.len()));
        Ok(())
    }

    /// One transaction: its answers, its news, its work.
    ///
    /// After a failure without harm (a full disk) nothing has happened. What somebody waits for is
    /// given back; results of our own work are kept, and tried again until the gateway is stopped.
    async fn commit(&mut self, mut batch: Vec<Submission>) -> Result<(), DriverError> {
        let done = loop {
            let moment = Moment { now: self.clock.now(), seed: self.clock.seed() };
            let events = batch.iter().map(|one| one.event.clone()).collect();
            let error = match self.store.commit(moment, events).await {
                Ok(done) => break done,
                Err(error) if error.is_fatal() => return Err(DriverError::Store(error)),
                Err(error) => error,
            };
            tracing::error!(%error, events = batch.len(), "commit failed; nothing has happened");
            batch = give_back(batch, &error);
            if batch.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_COMMIT) => {}
                // Nobody who stops the gateway waits for room on its disk.
                () = self.shutdown.cancelled() => return Err(DriverError::Store(error)),
            }
        };
        self.next_wake = done.next_wake;
        for (one, result) in batch.into_iter().zip(done.answers) {
            if let Some(answer) = one.answer {
                let _ = answer.send(result.map_err(|EventError::Bug(bug)| SubmitError::Bug(bug)));
            }
        }
        for notice in done.notices {
            if let Notice::RunEnded(end) = &notice {
                self.handle.let_go(end.run);
            }
            self.live.publish(LiveEvent::Notice(notice));
        }
        self.performer.start(done.actions);
        Ok(())
    }

    /// Lets open runs go on to their next committed step, where they are put back in line; then
    /// ends the node's lease. What has not come so far by the deadline is cut, and recovered at
    /// the next start as after a crash.
    async fn drain(mut self, mut beat: tokio::time::Interval) -> Result<(), DriverError> {
        tracing::info!(in_flight = self.performer.in_flight(), "draining");
        self.live.publish(LiveEvent::Shutdown);
        self.commit(vec![own(Event::Drain)]).await?;
        let deadline = tokio::time::sleep(self.drain);
        tokio::pin!(deadline);
        let mut batch = Vec::with_capacity(BATCH);
        while self.performer.in_flight() > 0 || !self.queue.is_empty() {
            tokio::select! {
                _ = self.queue.recv_many(&mut batch, BATCH) => {}
                _ = beat.tick() => batch.push(own(Event::Beat)),
                () = self.performer.idle() => continue,
                () = &mut deadline => break,
            }
            self.commit(std::mem::take(&mut batch)).await?;
        }
        let cut = self.performer.in_flight();
        if cut > 0 {
            tracing::warn!(cut, "the drain is over; what is in flight is cut");
        }
        self.performer.abort_all().await;
        if cut == 0 {
            self.commit(vec![own(Event::NodeStopped)]).await?;
        }
        Ok(())
    }
}

/// Tells those who wait that nothing was stored. Returns what nobody waits for.
fn give_back(batch: Vec<Submission>, error: &StoreError) -> Vec<Submission> {
    let (waited, ours): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.answer.is_some());
    for answer in waited.into_iter().filter_map(|one| one.answer) {
        let _ = answer.send(Err(SubmitError::Store(error.to_string())));
    }
    ours
}

/// An event of the driver itself.
fn own(event: Event) -> Submission {
    Submission { event, answer: None }
}
