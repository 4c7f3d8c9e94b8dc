//! What happens, as clients are shown it: drafts of answers, tools, ends. Pure.
//!
//! A draft is the text of one model call. The next call begins a new one (`replace`), so what is
//! on the screen is what the model says now, and at the end its final answer. When a call is
//! tried again, or its run goes on at another start, the draft was never said: clients are told
//! to drop it.

use std::collections::{HashMap, VecDeque};

use machine::effect::RunEnded;
use machine::finish::NO_REPLY;
use machine::rows::Outcome;
use protocol::Event;
use protocol::agent::{AgentEvent, AgentStream, Lifecycle, ToolEvent};
use protocol::chat::{ChatEvent, ChatState, ErrorKind};
use protocol::message::{ChatMessage, ChatRole, Provenance, WireUsage};
use serde_json::Value;
use types::{FailureClass, RunId, SessionKey, Timestamp};

/// Runs whose end is remembered, so that a piece of text that comes too late is not taken for a
/// new draft.
const ENDED_MAX: usize = 1_024;

/// Who gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever may read.
    Readers,
    /// Of those, who asked for `tool-events`.
    Tools,
}

/// An event to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Out {
    pub audience: Audience,
    pub event: Event,
}

/// The names of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    pub wire_id: String,
    pub session: SessionKey,
    /// The session that asked for it, if it is a child's.
    pub spawned_by: Option<SessionKey>,
}

/// What the store knows of a run that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub usage: Option<WireUsage>,
    pub error_class: Option<FailureClass>,
}

#[derive(Debug)]
struct Watched {
    names: Names,
    chat_seq: u64,
    agent_seq: u64,
    step: u32,
    text: String,
    /// How much of `text` has been sent.
    sent: usize,
    /// What was sent before belongs to an earlier draft.
    replace: bool,
}

/// The runs that are shown.
#[derive(Debug, Default)]
pub struct Feed {
    runs: HashMap<RunId, Watched>,
    ended: VecDeque<RunId>,
}

impl Feed {
    pub fn knows(&self, run: RunId) -> bool {
        self.runs.contains_key(&run) || self.ended.contains(&run)
    }

    pub fn watch(&mut self, run: RunId, names: Names) {
        let new = Watched {
            names,
            chat_seq: 0,
            agent_seq: 0,
            step: 0,
            text: String::new(),
            sent: 0,
            replace: false,
        };
        self.runs.entry(run).or_insert(new);
    }

    /// Is there text that has not been sent?
    pub fn dirty(&self) -> bool {
        self.runs.values().any(Watched::dirty)
    }

    pub fn started(&mut self, run: RunId, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        vec![watched.agent(now, AgentStream::Lifecycle(Lifecycle::Start { started_at: now }))]
    }

    /// Takes a piece of text of model call `step`. It is sent with the next [`Feed::flush`].
    pub fn delta(&mut self, run: RunId, step: u32, text: &str) {
        let Some(watched) = self.runs.get_mut(&run) else { return };
        if watched.step != step {
            watched.step = step;
            watched.replace |= watched.sent > 0;
            watched.text.clear();
            watched.sent = 0;
        }
        watched.text.push_str(text);
    }

    /// Sends what has come since the last time, one event for each run.
    pub fn flush(&mut self, now: Timestamp) -> Vec<Out> {
        self.runs.values_mut().filter(|w| w.dirty()).flat_map(|w| w.flush(now)).collect()
    }

    /// The draft of a run was never said.
    pub fn dropped(&mut self, run: RunId, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        let shown = watched.sent > 0;
        watched.text.clear();
        watched.sent = 0;
        watched.replace = false;
        if !shown {
            return Vec::new();
        }
        let state = ChatState::Delta {
            message: Some(ChatMessage::text(ChatRole::Assistant, "", now)),
            delta_text: String::new(),
            replace: true,
        };
        vec![watched.chat(state)]
    }

    /// The run waits for its children, and has a word for the person meanwhile. It is the same
    /// run that answers later, so this is a draft and not an end.
    pub fn yielded(&mut self, run: RunId, acknowledgment: &str, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        watched.replace |= watched.sent > 0;
        watched.text = acknowledgment.to_owned();
        watched.sent = 0;
        watched.flush(now)
    }

    pub fn tool_started(
        &mut self,
        run: RunId,
        name: String,
        call: String,
        args: Value,
        now: Timestamp,
    ) -> Vec<Out> {
        self.tool(run, ToolEvent::Start { name, tool_call_id: call, args }, now)
    }

    pub fn tool_finished(
        &mut self,
        run: RunId,
        name: String,
        call: String,
        (is_error, result): (bool, Value),
        now: Timestamp,
    ) -> Vec<Out> {
        self.tool(run, ToolEvent::Result { name, tool_call_id: call, is_error, result }, now)
    }

    /// Text that was said before a tool comes before the tool.
    fn tool(&mut self, run: RunId, event: ToolEvent, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        let mut out = if watched.dirty() { watched.flush(now) } else { Vec::new() };
        let event = watched.agent(now, AgentStream::Tool(event));
        out.push(Out { audience: Audience::Tools, ..event });
        out
    }

    /// The run is over: the one end that its clients are told.
    pub fn ended(&mut self, end: &RunEnded, facts: Facts, now: Timestamp) -> Vec<Out> {
        let Some(mut watched) = self.runs.remove(&end.run) else { return Vec::new() };
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(end.run);
        let lifecycle = lifecycle(end, now);
        let agent = watched.agent(now, AgentStream::Lifecycle(lifecycle));
        vec![agent, watched.chat(chat_end(end, facts, now))]
    }

    /// The run stands in line no more; another will be opened in its place.
    pub fn forget(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// Events were missed: nothing that is known of a draft can be trusted.
    pub fn clear(&mut self) {
        self.runs.clear();
    }
}

impl Watched {
    /// Is there anything to show? What may yet become [`NO_REPLY`] is held back.
    fn dirty(&self) -> bool {
        self.sent < self.text.len() && !NO_REPLY.starts_with(self.text.trim())
    }

    fn flush(&mut self, now: Timestamp) -> Vec<Out> {
        let delta = self.text[self.sent..].to_owned();
        self.sent = self.text.len();
        let text = self.text.clone();
        let state = ChatState::Delta {
            message: Some(ChatMessage::text(ChatRole::Assistant, text.as_str(), now)),
            delta_text: delta.clone(),
            replace: std::mem::take(&mut self.replace),
        };
        vec![self.agent(now, AgentStream::Assistant { text, delta }), self.chat(state)]
    }

    fn chat(&mut self, state: ChatState) -> Out {
        self.chat_seq += 1;
        let Names { wire_id, session, spawned_by } = self.names.clone();
        let event = ChatEvent {
            run_id: wire_id,
            agent_id: Some(session.agent.clone()),
            session_key: session,
            spawned_by,
            seq: self.chat_seq,
            state,
        };
        Out { audience: Audience::Readers, event: Event::Chat(Box::new(event)) }
    }

    fn agent(&mut self, ts: Timestamp, stream: AgentStream) -> Out {
        self.agent_seq += 1;
        let Names { wire_id, spawned_by, .. } = self.names.clone();
        let event = AgentEvent { run_id: wire_id, seq: self.agent_seq, ts, spawned_by, stream };
        Out { audience: Audience::Readers, event: Event::Agent(Box::new(event)) }
    }
}

/// Something that the gateway itself tells a person: the whole text at once, under a run id of its
/// own, and marked as that of another session.
pub fn told(
    session: &SessionKey,
    subject: &str,
    source: &SessionKey,
    text: &str,
    now: Timestamp,
) -> Out {
    let message = ChatMessage {
        provenance: Some(Provenance::of_session(source.clone())),
        ..ChatMessage::text(ChatRole::Assistant, text, now)
    };
    let state = ChatState::Final {
        message: Some(message),
        usage: None,
        stop_reason: Some("stop".to_owned()),
        yielded: false,
    };
    let event = ChatEvent {
        run_id: format!("announce:{subject}"),
        agent_id: Some(session.agent.clone()),
        session_key: session.clone(),
        spawned_by: None,
        seq: 1,
        state,
    };
    Out { audience: Audience::Readers, event: Event::Chat(Box::new(event)) }
}

/// What people read of an end that is no answer.
pub fn end_words(outcome: Outcome, error: Option<&str>) -> String {
    if let Some(error) = error {
        return error.to_owned();
    }
    match outcome {
        Outcome::Completed => "completed",
        Outcome::NoResult => "the model gave no answer",
        Outcome::Failed => "the run failed",
        Outcome::TimedOut => "the run was ended at its time limit",
        Outcome::Cancelled => "the run was stopped",
        Outcome::Interrupted => "the run was interrupted and could not be continued",
    }
    .to_owned()
}

fn lifecycle(end: &RunEnded, ended_at: Timestamp) -> Lifecycle {
    match end.outcome {
        Outcome::Completed => {
            Lifecycle::End { ended_at, aborted: false, stop_reason: Some(stop_reason(end)) }
        }
        Outcome::Cancelled => {
            Lifecycle::End { ended_at, aborted: true, stop_reason: Some("aborted".to_owned()) }
        }
        Outcome::NoResult | Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => {
            let error = end_words(end.outcome, end.error.as_deref());
            Lifecycle::Error { ended_at, error }
        }
    }
}

/// What ended an answer. A run that has completed has an error only if its answer was cut.
fn stop_reason(end: &RunEnded) -> String {
    if end.error.is_some() { "length".to_owned() } else { "stop".to_owned() }
}

fn chat_end(end: &RunEnded, facts: Facts, now: Timestamp) -> ChatState {
    let message = end.text.as_ref().map(|text| ChatMessage {
        usage: facts.usage,
        ..ChatMessage::text(ChatRole::Assistant, text.as_str(), now)
    });
    match end.outcome {
        Outcome::Completed => ChatState::Final {
            message,
            usage: facts.usage,
            stop_reason: Some(stop_reason(end)),
            yielded: false,
        },
        Outcome::Cancelled => ChatState::Aborted {
            message,
            error_message: end.error.clone(),
            stop_reason: Some("aborted".to_owned()),
        },
        Outcome::NoResult | Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => {
            let timed_out = end.outcome == Outcome::TimedOut;
            let of_class = facts.error_class.map_or(ErrorKind::Unknown, ErrorKind::from);
            ChatState::Error {
                message,
                error_message: end_words(end.outcome, end.error.as_deref()),
                error_kind: if timed_out { ErrorKind::Timeout } else { of_class },
                error_detail: None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn run() -> RunId {
        RunId::new(Uuid::from_u128(7))
    }

    fn feed() -> Feed {
        let mut feed = Feed::default();
        let session = "agent:main:main".parse().unwrap();
        feed.watch(run(), Names { wire_id: "k1".to_owned(), session, spawned_by: None });
        feed
    }

    fn end(outcome: Outcome, text: Option<&str>, error: Option<&str>) -> RunEnded {
        RunEnded {
            run: run(),
            wire_id: "k1".to_owned(),
            session: "agent:main:main".parse().unwrap(),
            session_id: types::SessionId::new(Uuid::from_u128(1)),
            outcome,
            text: text.map(str::to_owned),
            error: error.map(str::to_owned),
        }
    }

    /// The `chat` events, and only what changes in them.
    fn chat(out: &[Out]) -> String {
        let states = out.iter().filter_map(|out| match &out.event {
            Event::Chat(chat) => {
                let state = serde_json::to_value(&chat.state).unwrap();
                let said = chat_text(&chat.state);
                let (delta, replace) = (&state["deltaText"], &state["replace"]);
                Some(format!("{} {} {delta} {replace} {said:?}", chat.seq, state["state"]))
            }
            _ => None,
        });
        states.collect::<Vec<_>>().join("\n")
    }

    fn chat_text(state: &ChatState) -> String {
        match state {
            ChatState::Delta { message, .. }
            | ChatState::Final { message, .. }
            | ChatState::Aborted { message, .. }
            | ChatState::Error { message, .. } => {
                message.as_ref().map(ChatMessage::words).unwrap_or_default()
            }
        }
    }

    #[test]
    fn a_draft_grows_and_the_next_call_replaces_it() {
        let mut feed = feed();
        let mut out = Vec::new();
        feed.delta(run(), 0, "let ");
        feed.delta(run(), 0, "me see");
        out.extend(feed.flush(NOW));
        feed.delta(run(), 0, "…");
        out.extend(feed.flush(NOW));
        assert!(!feed.dirty() && feed.flush(NOW).is_empty());
        feed.delta(run(), 2, "found");
        out.extend(feed.flush(NOW));
        out.extend(feed.ended(
            &end(Outcome::Completed, Some("found it"), None),
            Facts::default(),
            NOW,
        ));
        feed.delta(run(), 2, "too late");
        assert!(feed.flush(NOW).is_empty() && feed.knows(run()));
        assert_snapshot!(chat(&out), @r#"
        1 "delta" "let me see" null "let me see"
        2 "delta" "…" null "let me see…"
        3 "delta" "found" true "found"
        4 "final" null null "found it"
        "#);
    }

    #[test]
    fn a_call_that_is_tried_again_takes_its_draft_back() {
        let mut feed = feed();
        assert!(feed.dropped(run(), NOW).is_empty(), "nothing was shown");
        feed.delta(run(), 0, "hel");
        let mut out = feed.flush(NOW);
        feed.delta(run(), 0, "lo");
        out.extend(feed.dropped(run(), NOW));
        feed.delta(run(), 0, "good day");
        out.extend(feed.flush(NOW));
        assert_snapshot!(chat(&out), @r#"
        1 "delta" "hel" null "hel"
        2 "delta" "" true ""
        3 "delta" "good day" null "good day"
        "#);
    }

    #[test]
    fn a_yield_speaks_and_does_not_end() {
        let mut feed = feed();
        feed.delta(run(), 0, "I ask");
        let mut out = feed.flush(NOW);
        out.extend(feed.yielded(run(), "three are at work", NOW));
        feed.delta(run(), 3, "all done");
        out.extend(feed.flush(NOW));
        assert_snapshot!(chat(&out), @r#"
        1 "delta" "I ask" null "I ask"
        2 "delta" "three are at work" true "three are at work"
        3 "delta" "all done" true "all done"
        "#);
    }

    #[test]
    fn every_outcome_has_one_end() {
        use Outcome::*;
        let class = Some(FailureClass::Overflow);
        let facts = Facts { usage: None, error_class: class };
        let lines: Vec<String> = [
            (Completed, Some("hi"), None),
            (Completed, None, None),
            (Completed, Some("hal"), Some("its answer was cut")),
            (NoResult, None, None),
            (Failed, None, Some("the prompt is too long")),
            (TimedOut, None, None),
            (Cancelled, None, Some("stopped by operator")),
            (Interrupted, None, None),
        ]
        .into_iter()
        .map(|(outcome, text, error)| {
            let out = feed().ended(&end(outcome, text, error), facts, NOW);
            let [agent, chat] = &out[..] else { panic!("{out:?}") };
            let [agent, chat] = [agent, chat].map(|out| out.event.encode().get().to_owned());
            let of = |text: &str| {
                let value: Value = serde_json::from_str(text).unwrap();
                let field = |name: &str| value.get(name).map(|v| format!("{v} "));
                let data = value.get("data").map(Value::to_string);
                [field("state"), field("errorMessage"), field("errorKind"), data]
                    .into_iter()
                    .flatten()
                    .collect::<String>()
            };
            format!("{outcome}: {}| {}", of(&chat), of(&agent))
        })
        .collect();
        assert_snapshot!(lines.join("\n"), @r#"
        completed: "final" | {"phase":"end","endedAt":1000,"stopReason":"stop"}
        completed: "final" | {"phase":"end","endedAt":1000,"stopReason":"stop"}
        completed: "final" | {"phase":"end","endedAt":1000,"stopReason":"length"}
        no_result: "error" "the model gave no answer" "context_length" | {"phase":"error","endedAt":1000,"error":"the model gave no answer"}
        failed: "error" "the prompt is too long" "context_length" | {"phase":"error","endedAt":1000,"error":"the prompt is too long"}
        timed_out: "error" "the run was ended at its time limit" "timeout" | {"phase":"error","endedAt":1000,"error":"the run was ended at its time limit"}
        cancelled: "aborted" "stopped by operator" | {"phase":"end","endedAt":1000,"aborted":true,"stopReason":"aborted"}
        interrupted: "error" "the run was interrupted and could not be continued" "context_length" | {"phase":"error","endedAt":1000,"error":"the run was interrupted and could not be continued"}
        "#);
    }

    #[test]
    fn what_may_become_silence_is_held_back() {
        let mut feed = feed();
        for piece in ["NO", "_REP"] {
            feed.delta(run(), 0, piece);
            assert!(!feed.dirty() && feed.flush(NOW).is_empty());
        }
        feed.delta(run(), 0, "ORT");
        let out = feed.flush(NOW);
        assert_snapshot!(chat(&out), @r#"1 "delta" "NO_REPORT" null "NO_REPORT""#);
    }

    #[test]
    fn text_comes_before_the_tool_it_announces() {
        let mut feed = feed();
        feed.delta(run(), 0, "I look");
        let out = feed.tool_started(run(), "read".to_owned(), "c1".to_owned(), Value::Null, NOW);
        let names: Vec<_> = out.iter().map(|out| (out.audience, out.event.name())).collect();
        assert_eq!(
            names,
            [(Audience::Readers, "agent"), (Audience::Readers, "chat"), (Audience::Tools, "agent")]
        );
    }
}
