//! What happens, as clients are shown it: drafts of answers, tools, ends. Pure.
//!
//! A draft is the text of one model call. The next call begins a new one (`replace`), so what is
//! on the screen is what the model says now, and at the end its final answer. When a call is
//! tried again, or its run goes on at another start, the draft was never said: clients are told
//! to drop it.
//!
//! What a model thinks is shown apart from what it says: to clients that have asked, and to all if
//! the session has.

use std::collections::{HashMap, VecDeque};

use machine::effect::RunEnded;
use machine::finish::NO_REPLY;
use protocol::Event;
use protocol::agent::{
    AgentEvent, AgentStream, Item, ItemKind, ItemPhase, ItemStatus, Lifecycle, RunStatus, ToolEvent,
};
use protocol::chat::{ChatEvent, ChatPhase, ChatState};
use protocol::message::{ChatMessage, ChatRole, WireUsage};
use serde_json::Value;
use types::{FailureClass, Reasoning, RunId, SessionKey, Timestamp};

mod ends;
mod title;

pub use ends::{end_words, told};
pub use title::title;

/// Runs whose end is remembered, so that a piece of text that comes too late is not taken for a
/// new draft.
const ENDED_MAX: usize = 1_024;

/// Who gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Who may answer what waits to be allowed.
    Approvers,
    /// Whoever may read.
    Readers,
    /// Of those, who asked for `tool-events`.
    Tools,
    /// Of those, who asked for `thinking-events`.
    Thoughts,
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
    /// Whether its thinking is shown to those who have not asked.
    pub reasoning: Reasoning,
}

/// What the store knows of a run that has ended.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub usage: Option<WireUsage>,
    pub error_class: Option<FailureClass>,
    /// What is told under its answer.
    pub footer: Option<String>,
}

/// A text that grows, and how much of it has been sent.
#[derive(Debug, Default)]
struct Draft {
    text: String,
    sent: usize,
}

impl Draft {
    fn grow(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    fn clear(&mut self) {
        self.text.clear();
        self.sent = 0;
    }

    /// Returns what is new, as sent from now on.
    fn take(&mut self) -> String {
        let delta = self.text[self.sent..].to_owned();
        self.sent = self.text.len();
        delta
    }

    fn waits(&self) -> bool {
        self.sent < self.text.len()
    }
}

/// A draft of which pieces were missed is shown no more: its next would be taken for its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Torn {
    No,
    /// The draft of whatever model call speaks next.
    Next,
    Step(u32),
}

/// A tool call that is out.
#[derive(Debug)]
struct OpenCall {
    id: String,
    title: String,
    since: Timestamp,
}

#[derive(Debug)]
struct Watched {
    names: Names,
    chat_seq: u64,
    agent_seq: u64,
    step: u32,
    said: Draft,
    thought: Draft,
    /// What was sent before belongs to an earlier draft.
    replace: bool,
    torn: Torn,
    calls: Vec<OpenCall>,
}

/// The runs that are shown.
#[derive(Debug, Default)]
pub struct Feed {
    runs: HashMap<RunId, Watched>,
    ended: VecDeque<RunId>,
}

/// A tool call, as it is told.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub tool: String,
    pub args: Value,
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
            said: Draft::default(),
            thought: Draft::default(),
            replace: false,
            torn: Torn::No,
            calls: Vec::new(),
        };
        self.runs.entry(run).or_insert(new);
    }

    /// As [`Feed::watch`], for a run that was speaking before we heard of it.
    pub fn watch_late(&mut self, run: RunId, names: Names) {
        self.watch(run, names);
        self.runs.entry(run).and_modify(|watched| watched.torn = Torn::Next);
    }

    /// From now on the thinking of this session is shown so.
    pub fn set_reasoning(&mut self, session: &SessionKey, reasoning: Reasoning) {
        for watched in self.runs.values_mut().filter(|w| w.names.session == *session) {
            watched.names.reasoning = reasoning;
        }
    }

    /// Is there text that has not been sent?
    pub fn dirty(&self) -> bool {
        self.runs.values().any(Watched::dirty)
    }

    pub fn started(&mut self, run: RunId, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        vec![watched.agent(now, AgentStream::Lifecycle(Lifecycle::Start { started_at: now }))]
    }

    /// What the run does now, or what it waits for.
    pub fn status(&mut self, run: RunId, status: RunStatus, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        let phase = ChatPhase::of(status.phase);
        let mut out = watched.flush(now);
        out.push(watched.agent(now, AgentStream::RunStatus(status)));
        out.extend(phase.map(|phase| watched.chat(ChatState::Status { phase })));
        out
    }

    /// Takes a piece of text of model call `step`. It is sent with the next [`Feed::flush`].
    pub fn delta(&mut self, run: RunId, step: u32, text: &str) {
        if let Some(watched) = self.runs.get_mut(&run)
            && watched.is_whole(step)
        {
            watched.said.grow(text);
        }
    }

    /// Takes a piece of what model call `step` thinks.
    pub fn thought(&mut self, run: RunId, step: u32, text: &str) {
        if let Some(watched) = self.runs.get_mut(&run)
            && watched.is_whole(step)
        {
            watched.thought.grow(text);
        }
    }

    /// Sends what has come since the last time.
    pub fn flush(&mut self, now: Timestamp) -> Vec<Out> {
        self.runs.values_mut().filter(|w| w.dirty()).flat_map(|w| w.flush(now)).collect()
    }

    /// The draft of a run was never said.
    pub fn dropped(&mut self, run: RunId, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        let shown = watched.said.sent > 0;
        watched.said.clear();
        watched.thought.clear();
        watched.replace = false;
        watched.torn = Torn::No;
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
        watched.replace |= watched.said.sent > 0;
        watched.said.clear();
        watched.said.grow(acknowledgment);
        watched.flush(now)
    }

    /// Text that was said before a tool comes before the tool.
    pub fn tool_started(&mut self, run: RunId, call: Call, now: Timestamp) -> Vec<Out> {
        let Some(watched) = self.runs.get_mut(&run) else { return Vec::new() };
        let mut out = watched.thoughts(now);
        out.extend(watched.flush(now));
        let title = title(&call.tool, &call.args);
        let open = OpenCall { id: call.id.clone(), title, since: now };
        out.push(watched.item(&call.tool, &open, None, now));
        watched.calls.push(open);
        let Call { id, tool, args } = call;
        let event = ToolEvent::Start { name: tool, tool_call_id: id, args };
        out.push(watched.tool(event, now));
        out
    }

    /// A call that the gateway itself has carried out was never told to start: it starts now, too.
    pub fn tool_finished(
        &mut self,
        run: RunId,
        call: Call,
        (is_error, result): (bool, Value),
        now: Timestamp,
    ) -> Vec<Out> {
        let Some(watched) = self.runs.get(&run) else { return Vec::new() };
        let known = watched.calls.iter().any(|open| open.id == call.id);
        let mut out = if known { Vec::new() } else { self.tool_started(run, call.clone(), now) };
        let Some(watched) = self.runs.get_mut(&run) else { return out };
        if let Some(n) = watched.calls.iter().position(|open| open.id == call.id) {
            let open = watched.calls.swap_remove(n);
            out.push(watched.item(&call.tool, &open, Some(is_error), now));
        }
        let Call { id, tool, .. } = call;
        let event = ToolEvent::Result { name: tool, tool_call_id: id, is_error, result };
        out.push(watched.tool(event, now));
        out
    }

    /// Does a call wait for its end? Then what it is called with has been told.
    pub fn has_call(&self, run: RunId, call: &str) -> bool {
        let watched = self.runs.get(&run);
        watched.is_some_and(|watched| watched.calls.iter().any(|open| open.id == call))
    }

    /// The run is over: the one end that its clients are told.
    pub fn ended(&mut self, end: &RunEnded, facts: Facts, now: Timestamp) -> Vec<Out> {
        let Some(mut watched) = self.runs.remove(&end.run) else { return Vec::new() };
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(end.run);
        let mut out = watched.thoughts(now);
        out.push(watched.agent(now, AgentStream::Lifecycle(ends::lifecycle(end, now))));
        out.push(watched.chat(ends::chat_end(end, facts, now)));
        out
    }

    /// The run stands in line no more; another will be opened in its place.
    pub fn forget(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// Events were missed: of no draft is it known what came in between. Returns the runs, which
    /// may be over by now.
    pub fn missed(&mut self) -> Vec<RunId> {
        for watched in self.runs.values_mut() {
            watched.torn = Torn::Next;
            watched.calls.clear();
        }
        self.runs.keys().copied().collect()
    }
}

impl Watched {
    /// Goes on to model call `step`. Says whether its draft is known from its beginning.
    fn is_whole(&mut self, step: u32) -> bool {
        match self.torn {
            Torn::No => {}
            Torn::Next => self.torn = Torn::Step(step),
            Torn::Step(torn) if torn != step => self.torn = Torn::No,
            Torn::Step(_) => {}
        }
        if self.step != step {
            self.step = step;
            self.replace |= self.said.sent > 0;
            self.said.clear();
            self.thought.clear();
        }
        self.torn == Torn::No
    }

    /// Is there anything to show? What may yet become [`NO_REPLY`] is held back.
    fn dirty(&self) -> bool {
        self.speaks() || self.thinks()
    }

    /// Is there thinking to show? If it is to be shown whole, then when the model begins to speak.
    fn thinks(&self) -> bool {
        let whole = self.names.reasoning == Reasoning::On;
        self.thought.waits() && (!whole || !self.said.text.is_empty())
    }

    fn speaks(&self) -> bool {
        self.said.waits() && !NO_REPLY.starts_with(self.said.text.trim())
    }

    /// Sends what there is to show: first what was thought.
    fn flush(&mut self, now: Timestamp) -> Vec<Out> {
        let mut out = if self.thinks() { self.thoughts(now) } else { Vec::new() };
        if !self.speaks() {
            return out;
        }
        let delta = self.said.take();
        let text = self.said.text.clone();
        let state = ChatState::Delta {
            message: Some(ChatMessage::text(ChatRole::Assistant, text.as_str(), now)),
            delta_text: delta.clone(),
            replace: std::mem::take(&mut self.replace),
        };
        out.extend([self.agent(now, AgentStream::Assistant { text, delta }), self.chat(state)]);
        out
    }

    /// Sends what has been thought since the last time.
    fn thoughts(&mut self, now: Timestamp) -> Vec<Out> {
        if !self.thought.waits() {
            return Vec::new();
        }
        let delta = self.thought.take();
        let text = self.thought.text.clone();
        let audience = match self.names.reasoning {
            Reasoning::Off => Audience::Thoughts,
            Reasoning::On | Reasoning::Stream => Audience::Readers,
        };
        let event = self.agent(now, AgentStream::Thinking { text, delta });
        vec![Out { audience, ..event }]
    }

    fn chat(&mut self, state: ChatState) -> Out {
        self.chat_seq += 1;
        let Names { wire_id, session, spawned_by, .. } = self.names.clone();
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
        let Names { wire_id, session, spawned_by, .. } = self.names.clone();
        let (run_id, session_key) = (wire_id, Some(session));
        let event = AgentEvent { run_id, seq: self.agent_seq, ts, session_key, spawned_by, stream };
        Out { audience: Audience::Readers, event: Event::Agent(Box::new(event)) }
    }

    fn tool(&mut self, event: ToolEvent, now: Timestamp) -> Out {
        let event = self.agent(now, AgentStream::Tool(event));
        Out { audience: Audience::Tools, ..event }
    }

    /// `failed` is none at the start.
    fn item(&mut self, tool: &str, call: &OpenCall, failed: Option<bool>, now: Timestamp) -> Out {
        let ended_at = failed.map(|_| now);
        let took = now.since(call.since).as_millis();
        let item = Item {
            item_id: format!("tool:{}", call.id),
            tool_call_id: call.id.clone(),
            name: tool.to_owned(),
            kind: ItemKind::Tool,
            phase: if failed.is_some() { ItemPhase::End } else { ItemPhase::Start },
            title: call.title.clone(),
            status: match failed {
                None => ItemStatus::Running,
                Some(false) => ItemStatus::Completed,
                Some(true) => ItemStatus::Failed,
            },
            started_at: call.since,
            ended_at,
            duration_ms: ended_at.map(|_| u64::try_from(took).unwrap_or(u64::MAX)),
        };
        self.agent(now, AgentStream::Item(item))
    }
}

#[cfg(test)]
mod tests;
