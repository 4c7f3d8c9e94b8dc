//! Waits for what becomes of a message, however it is answered.
//!
//! A message may open a run, enter one that is open, or wait for a later one. So what a client
//! waits for is found by its key, in the rows, each time that something has ended in its session.
//! That makes a wait as good after a restart of the gateway as before, and news that are lost
//! cost a second at most.

use std::time::Duration;

use machine::event::Command;
use machine::finish::said;
use machine::rows::{CommandRow, InboxState, Outcome};
use protocol::ErrorShape;
use store::StoreError;
use store::query::{Query, ask};
use store::view::RunView;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use types::SessionKey;

use crate::gateway::{Gateway, unreadable};

/// How often a wait looks for itself, in case that it was not told.
const POLL: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A message, by its session and idempotency key.
    Input { session: SessionKey, key: String },
    /// A run, by its name on the wire.
    Run(String),
}

/// How it stands.
#[derive(Clone, Debug)]
pub enum Sight {
    /// No row has this name.
    Unknown,
    /// It waits, or its run is open.
    Open(Option<Box<RunView>>),
    /// The run that has taken it in is over. With its answer, if it gave one.
    Ended(Box<RunView>, Option<String>),
    /// It was a command, which the gateway itself has answered.
    Told(Box<CommandRow>),
    /// No run will ever take it in.
    Lost(InboxState),
}

impl Sight {
    pub fn is_over(&self) -> bool {
        matches!(self, Sight::Ended(..) | Sight::Told(_) | Sight::Lost(_))
    }
}

/// Turns a run id of a client into a subject.
pub async fn subject(gateway: &Gateway, run_id: String) -> Result<Subject, ErrorShape> {
    if let Some(session) = gateway.keys.session(&run_id) {
        return Ok(Subject::Input { session, key: run_id });
    }
    let key = run_id.clone();
    let found = ask(gateway.handle.store(), move |rows| find(rows, &key));
    let found = found.await.map_err(unreadable)?;
    Ok(match found {
        Some(session) => {
            gateway.keys.remember(&run_id, &session);
            Subject::Input { session, key: run_id }
        }
        None => Subject::Run(run_id),
    })
}

/// Finds the session of a message that entered a run with another name, before we were started.
fn find(rows: &dyn Query, key: &str) -> Result<Option<SessionKey>, StoreError> {
    if rows.run_by_wire(key)?.is_some() {
        return Ok(None);
    }
    rows.session_of_input(key)
}

/// Looks once.
pub async fn look(gateway: &Gateway, subject: &Subject) -> Result<Sight, ErrorShape> {
    let subject = subject.clone();
    ask(gateway.handle.store(), move |rows| see(rows, &subject)).await.map_err(unreadable)
}

fn see(rows: &dyn Query, subject: &Subject) -> Result<Sight, StoreError> {
    let run = match subject {
        Subject::Run(name) => match rows.run_by_wire(name)? {
            Some(run) => Some(run),
            None => match name.parse() {
                Ok(id) => rows.run(id)?,
                Err(_) => None,
            },
        },
        Subject::Input { session, key } => {
            // What was said with a command counts for it: that is what is answered.
            let input = match rows.input(session, key)? {
                None => rows.input(session, &Command::first_key(key))?,
                found => found,
            };
            let Some(input) = input else {
                let typed = rows.command(session, key)?;
                return Ok(typed.map_or(Sight::Unknown, |row| Sight::Told(Box::new(row))));
            };
            let run = match input.run {
                Some(run) => rows.run(run)?,
                None => None,
            };
            match (input.state, &run) {
                // The run that was made for it has ended without it: another will be made.
                (InboxState::Queued, Some(run)) if run.facts.phase.ended() => {
                    return Ok(Sight::Open(None));
                }
                (InboxState::Queued, _) => return Ok(Sight::Open(run.map(Box::new))),
                (state, None) => return Ok(Sight::Lost(state)),
                (_, Some(_)) => run,
            }
        }
    };
    let Some(run) = run else { return Ok(Sight::Unknown) };
    if !run.facts.phase.ended() {
        return Ok(Sight::Open(Some(Box::new(run))));
    }
    let text = match run.facts.outcome {
        Some(Outcome::Completed) => rows.final_text(run.facts.id)?,
        _ => None,
    };
    Ok(Sight::Ended(Box::new(run), text.and_then(said)))
}

/// Waits until it is over, or for `timeout`; then returns how it stands.
pub async fn wait(
    gateway: &Gateway,
    subject: &Subject,
    timeout: Option<Duration>,
) -> Result<Sight, ErrorShape> {
    // Before the first look, so that nothing can end in between.
    let mut settled = gateway.hub.settled();
    let deadline = over_in(timeout);
    tokio::pin!(deadline);
    loop {
        let sight = look(gateway, subject).await?;
        if sight.is_over() {
            return Ok(sight);
        }
        let session = match (subject, &sight) {
            (Subject::Input { session, .. }, _) => Some(session),
            (Subject::Run(_), Sight::Open(Some(run))) => Some(&run.session_key),
            _ => None,
        };
        tokio::select! {
            () = told(&mut settled, session) => {}
            () = tokio::time::sleep(POLL) => {}
            () = &mut deadline => return look(gateway, subject).await,
        }
    }
}

async fn over_in(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// Waits for news that may concern `session`.
async fn told(settled: &mut Receiver<SessionKey>, session: Option<&SessionKey>) {
    loop {
        match settled.recv().await {
            Ok(told) if session.is_none_or(|session| *session == told) => return,
            Ok(_) => {}
            // Too much has happened to tell: look.
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
