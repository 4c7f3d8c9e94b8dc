//! The machine on a bench: one event at a time, in the hand of the test.

use std::time::Duration;

use machine::event::{Inbound, PlannedCall, ToolDone};
use machine::rows::{InboxRow, InboxState, Outcome, Run, StepKind, StepState, Task};
use machine::run::Phase;
use machine::{Answer, At, Event, Limits, Token};
use serde_json::Value;
use sim::commit::Done;
use sim::disk::Disk;
use sim::script::{Asked, reply};
use sim::{plan, world};
use types::{InternalCall, NodeId, RunId, SessionKey};
use uuid::Uuid;

/// A machine whose gateway has started.
#[derive(Debug)]
pub struct Bench {
    pub disk: Disk,
    pub limits: Limits,
    pub at: At,
    /// What the last event has led to.
    pub done: Done,
    /// Are the invariants looked at after each event? Not where a test has spoiled the rows.
    pub checked: bool,
    messages: u32,
}

impl Bench {
    pub fn new(limits: Limits) -> Bench {
        let at = At::new(plan::BIRTH, 1, node(1));
        let (disk, done) = (Disk::default(), Done::default());
        let mut bench = Bench { disk, limits, at, done, checked: true, messages: 0 };
        bench.restart();
        bench
    }

    /// Another process takes the store over.
    pub fn restart(&mut self) {
        self.at.node = node(self.at.node.uuid().as_u128() + 1);
        let node = self.at.node;
        self.apply(Event::NodeStarted { node, pid: 1, version: "test".to_owned() });
    }

    /// Applies one event, and what it raises, as one commit; then looks at the invariants.
    pub fn apply(&mut self, event: Event) -> Answer {
        self.at.now = self.at.now + Duration::from_millis(1);
        self.done = self.disk.commit(&mut self.at, &self.limits, vec![event], usize::MAX);
        if self.checked {
            world::check(&self.disk.world, &self.limits);
        }
        self.done.answers.remove(0)
    }

    /// Lets the clock run, and everything be due that is.
    pub fn pass(&mut self, time: Duration) {
        self.at.now = self.at.now + time;
        self.apply(Event::Tick);
    }

    /// Sends a message from the web.
    pub fn send(&mut self, session: &SessionKey, body: &str) -> Answer {
        self.send_as(Inbound { ..plan::inbound(session, body) })
    }

    pub fn send_as(&mut self, mut inbound: Inbound) -> Answer {
        self.messages += 1;
        if inbound.idem_key.is_empty() {
            inbound.idem_key = format!("key-{}", self.messages);
        }
        self.apply(Event::MessageReceived(inbound))
    }

    /// The open run of a session.
    pub fn open(&self, session: &SessionKey) -> RunId {
        let mut sessions = self.disk.world.sessions.iter();
        let row = sessions.find(|row| row.key == *session).expect("there is such a session");
        row.open_run.expect("a run is open")
    }

    pub fn run(&self, run: RunId) -> &Run {
        self.disk.run_row(run).expect("there is such a run")
    }

    pub fn phase(&self, run: RunId) -> Phase {
        self.run(run).phase
    }

    pub fn token(&self, run: RunId) -> Token {
        let row = self.run(run);
        Token { generation: row.generation, nonce: row.nonce }
    }

    pub fn tasks(&self) -> &[Task] {
        &self.disk.world.tasks
    }

    pub fn outcomes(&self) -> Vec<Option<Outcome>> {
        self.tasks().iter().map(|task| task.outcome).collect()
    }

    /// Rows of a session that are queued.
    pub fn queued(&self, session: &SessionKey) -> Vec<&InboxRow> {
        let rows = self.disk.world.inbox.iter();
        rows.filter(|r| r.session_key == *session && r.state == InboxState::Queued).collect()
    }

    /// The body of the newest row of a session with this beginning of its key.
    pub fn body(&self, session: &SessionKey, key: &str) -> String {
        let mut rows = self.disk.world.inbox.iter().rev();
        let row = rows.find(|r| r.session_key == *session && r.idem_key.starts_with(key));
        let row = row.unwrap_or_else(|| panic!("{session} has no row `{key}…`"));
        self.disk.body(row.seq).to_owned()
    }

    pub fn open_step(&self, run: RunId, kind: StepKind) -> u32 {
        let mut steps = self.disk.world.steps.iter();
        let open = |s: &&machine::rows::Step| {
            s.run == run && s.kind == kind && s.state == StepState::Intent
        };
        steps.find(open).expect("a step is open").n
    }

    /// The model of `run` answers; its prefix is pinned first, if need be.
    pub fn answer(&mut self, run: RunId, text: &str, calls: Vec<PlannedCall>) -> Answer {
        self.pin(run);
        let (token, step) = (self.token(run), self.open_step(run, StepKind::Model));
        let asked = Asked { world: &self.disk.world, run: self.run(run), step, depth: 0 };
        let reply = reply(&asked, text, calls);
        self.apply(Event::ModelReplied { run, token, step, reply })
    }

    pub fn say(&mut self, run: RunId, text: &str) -> Answer {
        self.answer(run, text, Vec::new())
    }

    /// The model of `run` makes one call of ours; returns what it answers.
    pub fn call(&mut self, run: RunId, id: &str, call: InternalCall) -> Value {
        self.answer(run, "", vec![sim::script::internal(id, call)]);
        self.result(run, id)
    }

    /// What a tool has answered: the text, as JSON.
    pub fn result(&self, run: RunId, call: &str) -> Value {
        let body = &self.disk.results[&(run, call.to_owned())];
        let result: Value = serde_json::from_str(body).expect("a result is JSON");
        let text = result["text"].as_str().expect("a result has a text");
        serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
    }

    pub fn pin(&mut self, run: RunId) {
        if self.phase(run) == Phase::Preparing {
            let (token, prefix) = (self.token(run), "prefix".to_owned());
            self.apply(Event::Pinned { run, token, prefix, tokens: 10 });
        }
    }

    /// The one tool of `run` that is out comes to its end.
    pub fn tool_done(&mut self, run: RunId) -> Answer {
        let (token, step) = (self.token(run), self.open_step(run, StepKind::Tool));
        self.apply(Event::ToolFinished { run, token, step, result: done(false) })
    }

    /// As [`Bench::tool_done`], and something that it has started goes on.
    pub fn tool_left(&mut self, run: RunId) -> Answer {
        let (token, step) = (self.token(run), self.open_step(run, StepKind::Tool));
        self.apply(Event::ToolFinished { run, token, step, result: done(true) })
    }
}

fn done(background: bool) -> ToolDone {
    ToolDone { text: "done".to_owned(), is_error: false, unknown: false, background }
}

fn node(n: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(n))
}

pub fn key(text: &str) -> SessionKey {
    text.parse().expect("a session key")
}

pub fn main_session() -> SessionKey {
    key("agent:main:main")
}
