//! Slash commands: carried out once, answered in words, and never shown to a model.
//!
//! What is typed is read at the edge; what it asks for comes here as an [`Act`], and the answer is
//! kept under the message's idempotency key in the commit that does it. So a message that is sent
//! again gets the answer that was given, and nothing is stopped or spawned twice.

use serde_json::Value;
use types::{ApprovalId, InternalCall, SessionKey, TaskId};

use crate::approve;
use crate::attempt::{self, Retry};
use crate::effect::{Answer, Commanded, Notice, Refusal, Stopped};
use crate::event::{Act, Asked, Command, Decision, Inbound};
use crate::rows::{CommandRow, EndReason, InboxKind, Lifecycle, NodeState};
use crate::state::State;
use crate::{halt, inbox, internal, refresh, session, stop};

/// An answer in words.
struct Told {
    answer: String,
    is_error: bool,
    listed: Vec<TaskId>,
}

impl Told {
    fn ok(answer: String) -> Told {
        Told { answer, is_error: false, listed: Vec::new() }
    }
}

/// Carries a command out, or gives the answer that it was given before.
pub fn carry_out(state: &mut State<'_>, command: Command) -> Answer {
    match try_carry_out(state, command) {
        Ok(commanded) => Answer::Commanded(commanded),
        Err(refusal) => Answer::Refused(refusal),
    }
}

fn try_carry_out(state: &mut State<'_>, command: Command) -> Result<Commanded, Refusal> {
    let Command { session, owner, origin, idem_key, text, act } = command;
    if let Some(row) = state.tx().command(&session, &idem_key) {
        if row.text != text {
            return Err(Refusal::IdempotencyConflict(idem_key));
        }
        return Ok(commanded(row, Stopped::default(), true));
    }
    // The key of a message that was said to the agent names that message for ever.
    if state.tx().inbox_by_idem(&session, &idem_key).is_some() {
        return Err(Refusal::IdempotencyConflict(idem_key));
    }
    let first = first_message(&session, &owner, &origin, &idem_key, &act);
    if let Some(message) = &first {
        // Before anything is stopped: what cannot be said must not end what goes on.
        inbox::check_bounds(state, message)?;
        if state.tx().inbox_by_idem(&session, &message.idem_key).is_some() {
            return Err(Refusal::IdempotencyConflict(idem_key));
        }
    }
    check_open(state, &session, &owner, &act)?;
    let mut stopped = Stopped::default();
    let told = match act {
        Act::Tell { answer, is_error, listed } => Told { answer, is_error, listed },
        Act::Stop => {
            stopped = stop::stop_all(state, &session, &owner);
            Told::ok(stopped_words(state, &session, &stopped))
        }
        Act::StopChildren => {
            stopped = stop::stop_children(state, &session, &owner);
            Told::ok(stopped_words(state, &session, &stopped))
        }
        Act::Retry(task) => {
            let below = Some(session.clone());
            let asked = Retry { task, owner, below, idem_key: None };
            let reply = attempt::retry(state, &asked);
            Spoken::Retry.tell(&reply.text, reply.is_error)
        }
        Act::Decide(approval, decision) => decided(state, approval, decision, &owner),
        Act::Reset { reason, .. } => {
            stopped = session::reset(state, &session, reason, &owner);
            let said = first.map(|message| inbox::accept(state, message));
            let mut told = Told::ok(reset_words(state, &session, reason, &stopped));
            // A session that was kept for one task only is put away with that task.
            if let Some(Answer::Refused(refusal)) = said {
                told.answer += &format!(" Your message was not taken: {refusal}.");
                told.is_error = true;
            }
            told
        }
        Act::Patch(patch) => {
            session::patch(state, &session, &patch)?;
            Told::ok(patch.words())
        }
        Act::Refresh { changed } => Told::ok(refresh::refresh(state, &session, &changed)),
        Act::Compact { hint } => Told::ok(session::compact(state, &session, &origin, &hint)?),
        Act::Call(call) => {
            let mark = format!("command:{idem_key}");
            let words = Spoken::of(&call);
            let asked = Asked { session: session.clone(), owner, origin, mark, call };
            match internal::ask(state, asked) {
                Answer::Told { text, is_error } => words.tell(&text, is_error),
                Answer::Refused(refusal) => return Err(refusal),
                other => unreachable!("an ask is answered {other:?}"),
            }
        }
    };
    let row = keep(state, session, idem_key, text, told);
    Ok(commanded(row, stopped, false))
}

/// Answers a call that waits, and says what has become of it.
fn decided(state: &mut State<'_>, id: ApprovalId, decision: Decision, by: &str) -> Told {
    match approve::decide(state, id, decision, by) {
        Answer::Decided(decided) => {
            let is_error = decided.before;
            Told { is_error, ..Told::ok(decided.words()) }
        }
        Answer::Refused(refusal) => Told { is_error: true, ..Told::ok(refusal.to_string()) },
        other => unreachable!("a decision is answered {other:?}"),
    }
}

/// What is said to the agent with a command, under a key of its own: that of the command is taken.
fn first_message(
    session: &SessionKey,
    owner: &str,
    origin: &str,
    idem_key: &str,
    act: &Act,
) -> Option<Inbound> {
    let Act::Reset { first: Some(body), .. } = act else { return None };
    let (origin, key) = (origin.to_owned(), Command::first_key(idem_key));
    Some(Inbound {
        kind: InboxKind::User,
        owner: owner.to_owned(),
        mode: None,
        ..Inbound::system(session.clone(), origin, key, body.clone())
    })
}

fn commanded(row: CommandRow, stopped: Stopped, duplicate: bool) -> Commanded {
    Commanded {
        session: row.session_key,
        session_id: row.session_id,
        answer: row.answer,
        is_error: row.is_error,
        stopped,
        duplicate,
    }
}

/// A command may be the first thing that is said in a conversation. In one that is archived only
/// what changes nothing is answered; while the gateway drains, what begins nothing.
fn check_open(
    state: &mut State<'_>,
    key: &SessionKey,
    owner: &str,
    act: &Act,
) -> Result<(), Refusal> {
    let up = state.this_node().is_some_and(|node| node.state == NodeState::Up);
    let begins = match act {
        Act::Call(call) => !matches!(call, InternalCall::Kill { .. }),
        Act::Retry(_) | Act::Compact { .. } => true,
        _ => false,
    };
    if begins && !up {
        return Err(Refusal::Draining);
    }
    let reads = matches!(act, Act::Tell { .. });
    let archived = |session: &crate::rows::Session| {
        session.lifecycle == Lifecycle::Archived && session.deleted.is_none()
    };
    if reads && state.find_session(key).is_some_and(archived) {
        return Ok(());
    }
    inbox::open_session(state, key, owner).map(drop)
}

/// Keeps the command where it was typed. That of a reset stands at the head of the new transcript.
fn keep(
    state: &mut State<'_>,
    session_key: SessionKey,
    idem_key: String,
    text: String,
    told: Told,
) -> CommandRow {
    let session_id = state.session(&session_key).session_id;
    let before_seq = state.transcript(&session_id).next_seq;
    let Told { answer, is_error, listed } = told;
    let at = state.now();
    let row = CommandRow {
        session_key,
        session_id,
        before_seq,
        idem_key,
        text,
        answer,
        is_error,
        listed,
        at,
    };
    state.tx().add_command(&row);
    state.notices.push(Notice::Commanded {
        session: row.session_key.clone(),
        key: row.idem_key.clone(),
        answer: row.answer.clone(),
        is_error,
    });
    row
}

/// Says what has stopped with this commit, and what is stopping with those that follow.
fn stopped_words(state: &mut State<'_>, key: &SessionKey, stopped: &Stopped) -> String {
    let root = state.session(key).root_key.clone();
    let report = halt::report(state, &root, stopped);
    let mut lines = Vec::new();
    if stopped.runs.is_empty() && stopped.tasks.is_empty() {
        lines.push("Nothing was running.".to_owned());
    }
    for run in &stopped.runs {
        let ending = report.runs.iter().any(|(ending, _)| ending == run);
        let session = &state.run(run).session_key;
        lines.push(match ending {
            true => format!("Stopped: the run of {session}. What it had begun is being ended."),
            false => format!("Stopped: the run of {session}."),
        });
    }
    for id in &stopped.tasks {
        let task = state.task(id);
        let name = task.task_name.as_deref().or(task.label.as_deref());
        let name = name.map(|name| format!("{name} ")).unwrap_or_default();
        let (word, key) =
            (if task.outcome.is_some() { "Stopped" } else { "Stopping" }, &task.session_key);
        lines.push(format!("{word}: {name}({id}, {key}) and all below it."));
    }
    for (session, halt) in &report.unproved {
        let left = halt::left(&halt.pids, halt.calls);
        lines.push(format!("Not proved to be over: {} of {session}: {left}.", halt.run));
    }
    lines.join("\n")
}

fn reset_words(
    state: &mut State<'_>,
    key: &SessionKey,
    reason: EndReason,
    stopped: &Stopped,
) -> String {
    let begun = match reason {
        EndReason::New => {
            "A new conversation has begun under this key; the old one stays readable."
        }
        EndReason::Reset => "The conversation has been reset; what was said stays readable.",
    };
    if stopped.runs.is_empty() && stopped.tasks.is_empty() {
        return begun.to_owned();
    }
    format!("{begun}\n{}", stopped_words(state, key, stopped))
}

/// What was asked for, for the words about its answer.
enum Spoken {
    Spawn,
    Kill,
    Steer,
    Send,
    Retry,
}

impl Spoken {
    fn of(call: &InternalCall) -> Spoken {
        match call {
            InternalCall::Spawn(_) => Spoken::Spawn,
            InternalCall::Kill { .. } => Spoken::Kill,
            InternalCall::Send(_) => Spoken::Send,
            _ => Spoken::Steer,
        }
    }

    /// The answer that a model would get as JSON, in words.
    fn tell(&self, text: &str, is_error: bool) -> Told {
        let json: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        if is_error {
            let answer = format!("{}: {}", field("code"), field("error"));
            return Told { answer, is_error: true, listed: Vec::new() };
        }
        let answer = match (self, field("status").as_str()) {
            (Spoken::Retry, "duplicate") => {
                format!("It is carried again already: {}.", field("taskId"))
            }
            (Spoken::Retry, _) => format!(
                "Carried again: {}, attempt {}, in {}. Its result goes to {}.",
                field("taskId"),
                json["attempt"],
                field("sessionKey"),
                field("requesterSessionKey"),
            ),
            (_, "duplicate") => {
                format!(
                    "An equal task is there already: {}, {}.",
                    field("taskId"),
                    field("childSessionKey")
                )
            }
            (Spoken::Spawn, _) => format!(
                "Started: {} in {}, with {}. Its result will come here.",
                field("taskId"),
                field("childSessionKey"),
                field("resolvedModel"),
            ),
            (Spoken::Kill, "already_ended") => format!("{} had ended already.", field("taskId")),
            (Spoken::Kill, _) => format!("Stopped, with all below it: {}.", names(&json["tasks"])),
            (Spoken::Steer, _) if json["resumed"] == true => format!(
                "It had ended, and goes on as {} in {}. Its result will come here.",
                field("taskId"),
                field("sessionKey"),
            ),
            (Spoken::Send, _) => {
                format!("Sent to {}. Its answer will come here.", field("sessionKey"))
            }
            (Spoken::Steer, _) => {
                format!("Told: {} takes it in at its next step.", field("sessionKey"))
            }
        };
        Told::ok(answer)
    }
}

fn names(list: &Value) -> String {
    let words = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    words.collect::<Vec<_>>().join(", ")
}
