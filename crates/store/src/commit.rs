//! One transaction: events in; answers, work and news out.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use machine::event::{Act, Change};
use machine::{Action, Answer, At, Event, Limits, Notice, Refusal, State, Tx};
use types::{InternalCall, Timestamp};

use crate::error::StoreError;
use crate::query::Reads;

/// Decides on one event. `machine::apply` is the one.
pub type Apply = fn(&mut State<'_>, Event) -> Answer;

/// Events that one event may raise, and those raise, before this is taken for a loop. A start
/// that finds thousands of cut runs raises a few for each; one that never ends would hold the
/// writer for ever. What is left out follows from rows, and the next start finds it there.
pub const RAISED_MAX: usize = 100_000;

/// When a batch is decided, and from what its ids and random numbers are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub now: Timestamp,
    pub seed: u64,
}

/// What came of a batch. It is on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// One for each event, in order; none for raised events.
    pub answers: Vec<Result<Answer, EventError>>,
    pub actions: Vec<Action>,
    pub notices: Vec<Notice>,
    /// When the earliest timer is due.
    pub next_wake: Option<Timestamp>,
}

/// Why one event of a batch left nothing behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The machine panicked, or broke a constraint of the database.
    #[error("internal error, a bug: {0}")]
    Bug(String),
}

/// A durable set of rows.
#[async_trait]
pub trait Store: Reads + Send + Sync + fmt::Debug {
    /// Applies up to `limits::BATCH` events in one transaction, and returns when it is on disk.
    ///
    /// Events that an event raises are applied right after it. An event that hits a bug is rolled
    /// back alone. On an error nothing of the batch has happened, unless the error is fatal: then
    /// only the next start can tell.
    async fn commit(&self, moment: Moment, events: Vec<Event>) -> Result<Done, StoreError>;

    /// From the next batch on, the machine decides by these.
    fn set_limits(&self, limits: Arc<Limits>);
}

/// The limits of a store, which may be changed between two batches.
#[derive(Clone, Debug)]
pub(crate) struct Current(Arc<Mutex<Arc<Limits>>>);

impl Current {
    pub(crate) fn new(limits: Arc<Limits>) -> Current {
        Current(Arc::new(Mutex::new(limits)))
    }

    pub(crate) fn get(&self) -> Arc<Limits> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, limits: Arc<Limits>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }
}

/// A transaction with marks to go back to.
pub(crate) trait Savepoints: Tx + Sized {
    fn savepoint(&mut self) -> Result<(), StoreError>;
    fn release(&mut self) -> Result<(), StoreError>;
    fn roll_back(&mut self) -> Result<(), StoreError>;
    fn next_wake(&mut self) -> Result<Option<Timestamp>, StoreError>;
}

/// How events are decided on: the same for all batches of a store.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub limits: &'a Limits,
    pub apply: Apply,
    /// Inputs are refused: there is no room for them on the disk.
    pub full: bool,
}

/// Applies a batch within an open transaction.
pub(crate) fn apply_batch<T: Savepoints>(
    tx: &mut T,
    at: &mut At,
    rules: Rules<'_>,
    events: &[Event],
) -> Result<Done, StoreError> {
    let mut done = Done::default();
    for event in events {
        if rules.full && is_new_work(event) {
            done.answers.push(Ok(Answer::Refused(Refusal::StoreFull)));
            continue;
        }
        let mut queue = VecDeque::new();
        let answer = apply_one(tx, at, rules, event.clone(), &mut done, &mut queue)?;
        done.answers.push(answer);
        apply_raised(tx, at, rules, &mut done, queue)?;
    }
    done.next_wake = tx.next_wake()?;
    Ok(done)
}

/// Is this refused while the disk is full? A stop, and what only ends something, is not.
fn is_new_work(event: &Event) -> bool {
    let begins = |call: &InternalCall| !matches!(call, InternalCall::Kill { .. });
    match event {
        Event::MessageReceived(_) => true,
        Event::Ask(asked) => begins(&asked.call),
        Event::RetryTask(_) | Event::Redeliver { .. } => true,
        Event::Change { change: Change::Compact { .. }, .. } => true,
        Event::Command(command) => match &command.act {
            Act::Call(call) => begins(call),
            Act::Tell { .. } | Act::Patch(_) | Act::Retry(_) => true,
            Act::Refresh { .. } | Act::Compact { .. } => true,
            Act::Reset { first, .. } => first.is_some(),
            // What waits is there already, and its answer is a few bytes.
            Act::Stop | Act::StopChildren | Act::Decide(..) => false,
        },
        _ => false,
    }
}

fn apply_raised<T: Savepoints>(
    tx: &mut T,
    at: &mut At,
    rules: Rules<'_>,
    done: &mut Done,
    mut queue: VecDeque<Event>,
) -> Result<(), StoreError> {
    let mut applied = 0;
    while let Some(event) = queue.pop_front() {
        if applied == RAISED_MAX {
            tracing::error!(left = queue.len() + 1, "events raise each other without end: a bug");
            break;
        }
        applied += 1;
        // A bug in it is in the log; nobody waits for its answer.
        let _ = apply_one(tx, at, rules, event, done, &mut queue)?;
    }
    Ok(())
}

fn apply_one<T: Savepoints>(
    tx: &mut T,
    at: &mut At,
    rules: Rules<'_>,
    event: Event,
    done: &mut Done,
    queue: &mut VecDeque<Event>,
) -> Result<Result<Answer, EventError>, StoreError> {
    tx.savepoint()?;
    let (kind, stalls) = (event.name(), event.stalls());
    let applied = catch_unwind(AssertUnwindSafe(|| {
        let mut state = State::new(tx, at, rules.limits);
        let answer = (rules.apply)(&mut state, event);
        state.flush();
        let State { actions, raised, notices, .. } = state;
        (answer, actions, raised, notices)
    }));
    match applied {
        Ok((answer, actions, raised, notices)) => {
            tx.release()?;
            done.actions.extend(actions);
            done.notices.extend(notices);
            queue.extend(raised);
            Ok(Ok(answer))
        }
        Err(payload) => {
            let bug = bug_of(payload)?;
            tracing::error!(event = kind, bug, "an event was rolled back");
            tx.roll_back()?;
            queue.extend(stalls.map(|run| Event::Broken { run, why: bug.clone() }));
            Ok(Err(EventError::Bug(bug)))
        }
    }
}

/// Tells a bug, which ends one event, from a failure of the store, which ends the batch.
fn bug_of(payload: Box<dyn Any + Send>) -> Result<String, StoreError> {
    let payload = match payload.downcast::<StoreError>() {
        Ok(error) => match *error {
            StoreError::Broken(bug) => return Ok(bug),
            error => return Err(error),
        },
        Err(payload) => payload,
    };
    let payload = match payload.downcast::<String>() {
        Ok(text) => return Ok(*text),
        Err(payload) => payload,
    };
    Ok(payload.downcast::<&str>().map_or_else(|_| "a panic".to_owned(), |text| (*text).to_owned()))
}
