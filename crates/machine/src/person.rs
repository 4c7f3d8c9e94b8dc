//! What the gateway itself tells a person: the result of a task that was to go to him unedited, and
//! what a restart has cut.
//!
//! There is no model in between. What is told live is also kept: the result in the announce or, if
//! that lies in a session below, in a held row of the session at the head of the tree, where the
//! request had come from. A held row opens no run; it enters the transcript with the next one, so
//! that the agent knows what the person has been told.

use types::{AgentId, SessionKey, TaskId};

use crate::announce::{self, bounded, explain};
use crate::effect::Notice;
use crate::event::Inbound;
use crate::finish::End;
use crate::inbox;
use crate::rows::{Lifecycle, Outcome, Place, Task};
use crate::state::State;

/// How the row begins that keeps a result for a person. The id of its task follows.
const MARKER: &str = "[Told to the person] task=";

/// The key of every message about a restart begins with this; the start's node follows.
pub const RESTART: &str = "restart:";

/// Tells the person the result of a task, once: a task ends once.
pub fn tell(state: &mut State<'_>, task: &Task, end: &End, taken_by: Option<&SessionKey>) {
    let home = home(state, task);
    let name = task.task_name.clone().or_else(|| task.label.clone());
    let error = end.error.as_ref().map(|(_, why)| why.as_str());
    let text = end.text.as_deref();
    let words = words(name.as_deref(), end.outcome, error, text);
    let there = state.find_session(&home).is_some_and(|session| session.deleted.is_none());
    if taken_by != Some(&home) && there {
        let (shown, cut) = bounded(&words);
        let rest = if cut { "\n(cut here; the person has seen all of it)" } else { "" };
        let why = explain(end);
        let body = format!("{MARKER}{}\n{why} The person was sent this:\n{shown}{rest}", task.id);
        let key = format!("person:{}", task.id);
        hold(state, &home, &task.origin, key, body);
    }
    state.notices.push(Notice::Told {
        session: home,
        task: Some(task.id),
        source: task.session_key.clone(),
        text: words,
    });
}

/// Where the request had come from: the session at the head of the tree.
fn home(state: &mut State<'_>, task: &Task) -> SessionKey {
    let root = task.root_key.clone();
    let Some(session) = state.find_session(&root) else { return root };
    if session.lifecycle == Lifecycle::Open {
        return root;
    }
    let owner = session.owner.clone();
    main_session(state, &owner, &root.agent).unwrap_or(root)
}

/// The main session of an agent, if it is there, open, and this owner's.
pub fn main_session(state: &mut State<'_>, owner: &str, agent: &AgentId) -> Option<SessionKey> {
    let key = SessionKey::main(agent.clone());
    let session = state.find_session(&key)?;
    (session.lifecycle == Lifecycle::Open && session.owner == owner).then_some(key)
}

/// Keeps a message of the gateway for a person. It wakes nobody.
pub fn hold(state: &mut State<'_>, session: &SessionKey, origin: &str, key: String, body: String) {
    if state.tx().inbox_by_idem(session, &key).is_some() {
        return;
    }
    let inbound = Inbound::system(session.clone(), origin.to_owned(), key, body);
    inbox::put(state, &inbound, Place::Hold);
}

/// What a person reads of a result: the child's own text, unedited, or what became of it.
pub fn words(
    name: Option<&str>,
    outcome: Outcome,
    error: Option<&str>,
    text: Option<&str>,
) -> String {
    let text = text.unwrap_or("");
    if outcome == Outcome::Completed {
        return text.to_owned();
    }
    let name = name.unwrap_or("a sub-agent");
    let why = error.map(|why| format!(": {why}")).unwrap_or_default();
    let ended = format!("[{name} has ended ({outcome}){why}]");
    if text.is_empty() { ended } else { format!("{ended}\nIts last words:\n{text}") }
}

/// The task whose result a body brings, and whether it was brought to a person alone.
pub fn told_of(body: &str) -> Option<TaskId> {
    let rest = body.strip_prefix(announce::MARKER).or_else(|| body.strip_prefix(MARKER))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_unedited_and_a_failure_by_its_name() {
        use Outcome::*;

        #[rustfmt::skip]
        let table = [
            (Completed, None,            Some(" a\n"), " a\n"),
            (Failed,    Some("no key"),  None,         "[map has ended (failed): no key]"),
            (TimedOut,  Some("3 s"),     Some("half"), "[map has ended (timed_out): 3 s]\nIts last words:\nhalf"),
            (NoResult,  None,            Some(""),     "[map has ended (no_result)]"),
        ];
        for (outcome, error, text, expected) in table {
            assert_eq!(words(Some("map"), outcome, error, text), expected);
        }
    }

    #[test]
    fn the_task_of_a_row_is_found_again() {
        let id: TaskId = "tsk_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8".parse().unwrap();
        let announce = format!("[Subagent result] task={id} name=x outcome=failed bytes=0");
        for body in [announce, format!("{MARKER}{id}\nand more")] {
            assert_eq!(told_of(&body), Some(id), "{body}");
        }
        for body in ["", "[Subagent result] task=x", "hello task=tsk_1"] {
            assert_eq!(told_of(body), None, "{body}");
        }
    }
}
