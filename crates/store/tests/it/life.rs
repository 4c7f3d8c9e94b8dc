//! Two stores live the same life: whatever the machine decides, over whatever happens, the file
//! and the memory give the same answers and hold the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use machine::check::check;
use machine::event::{
    CallPlan, Inbound, ModelFailure, ModelReply, Overflow, PlannedCall, ToolDone,
};
use machine::limits::{AgentLimits, AllowAgents};
use machine::policy::{ToolFact, ToolRules};
use machine::rows::InboxKind;
use machine::{Action, At, Event, Limits};
use store::{Memory, Moment, Reads, Sqlite, Store};
use types::{
    AgentId, AssistantMessage, Cleanup, EffectClass, FailureClass, InternalCall, NodeId,
    SessionKey, SpawnRequest, StopReason, Timestamp, Usage, WaitFor, Wire, YieldRequest,
};

use crate::bench::{block_on, options};

fn agent_limits() -> Arc<Limits> {
    let agent = AgentLimits {
        allow_agents: AllowAgents::All,
        child_timeout: Some(Duration::from_secs(60)),
        ..AgentLimits::of("scripted/m")
    };
    let fact = |name: &str, effect| ToolFact {
        name: name.to_owned(),
        effect,
        groups: Vec::new(),
        description: String::new(),
    };
    let catalogue = vec![
        fact("read", EffectClass::Pure),
        fact("sessions_spawn", EffectClass::Internal),
        fact("sessions_yield", EffectClass::Internal),
    ];
    Arc::new(Limits {
        tools: ToolRules { catalogue, ..ToolRules::default() },
        agents: BTreeMap::from([(AgentId::main(), agent)]),
        models: BTreeMap::from([("scripted/m".to_owned(), 100_000)]),
        ..Limits::default()
    })
}

/// The two stores, what is in flight, and the dice.
struct Twins {
    seed: u64,
    dice: At,
    limits: Arc<Limits>,
    dir: tempfile::TempDir,
    memory: Memory,
    file: Option<Sqlite>,
    in_flight: Vec<Action>,
    messages: u32,
    starts: u32,
}

impl Twins {
    fn new(seed: u64) -> Twins {
        let mut dice = At::new(Timestamp(1_000_000), seed, crate::bench::node());
        let (limits, dir) = (agent_limits(), tempfile::tempdir().unwrap());
        let node = NodeId::new(dice.mint());
        let memory = Memory::new(Arc::clone(&limits), node, machine::apply);
        let file = open(&dir, &limits, node);
        let (in_flight, messages, starts) = (Vec::new(), 0, 0);
        let mut twins =
            Twins { seed, dice, limits, dir, memory, file, in_flight, messages, starts };
        twins.start(node);
        twins
    }

    fn below(&mut self, n: u64) -> u64 {
        self.dice.random() % n
    }

    fn start(&mut self, node: NodeId) {
        self.starts += 1;
        self.commit(vec![Event::NodeStarted { node, pid: 1, version: "1".to_owned() }]);
    }

    /// The process is gone, and with it what was in flight. The next one opens the same file.
    fn restart(&mut self) {
        self.file = None;
        self.in_flight.clear();
        self.dice.node = NodeId::new(self.dice.mint());
        self.memory.take_over(self.dice.node);
        self.file = open(&self.dir, &self.limits, self.dice.node);
        self.start(self.dice.node);
    }

    fn commit(&mut self, events: Vec<Event>) {
        let moment = Moment { now: self.dice.now, seed: self.dice.random() };
        let expected = self.memory.commit_now(moment, &events);
        let file = self.file.as_ref().unwrap();
        let done = block_on(file.commit(moment, events.clone())).unwrap();
        assert_eq!(done, expected, "seed {}: {events:?}", self.seed);
        let bug = done.answers.iter().find_map(|answer| answer.as_ref().err());
        assert_eq!(bug, None, "seed {}: {events:?}", self.seed);
        for action in done.actions {
            if let Action::Abort { run } = action {
                self.in_flight.retain(|other| run_of(other) != run);
            } else {
                self.in_flight.push(action);
            }
        }
    }

    fn compare(&self) {
        let memory = self.memory.ask(|rows| rows.snapshot()).unwrap();
        let file = block_on(self.file.as_ref().unwrap().snapshot()).unwrap();
        assert_eq!(file, memory, "seed {}", self.seed);
        let file = block_on(self.file.as_ref().unwrap().tally(self.dice.now)).unwrap();
        assert_eq!(file, self.memory.ask(|rows| rows.tally(self.dice.now)).unwrap());
        let violations = check(&memory, &self.limits);
        assert_eq!(violations, [], "seed {}", self.seed);
    }

    fn step(&mut self) {
        self.dice.now = self.dice.now + Duration::from_millis(1 + self.dice.random() % 2_000);
        let mut events = Vec::new();
        for _ in 0..1 + self.below(3) {
            events.push(match self.below(20) {
                0..=2 => self.message(),
                3 => Event::Tick,
                4 => Event::Beat,
                5 if self.below(4) == 0 => {
                    let session = SessionKey::main(AgentId::main());
                    Event::Stop { session, run: None, by: "ann".to_owned() }
                }
                _ => self.result().unwrap_or(Event::Tick),
            });
        }
        self.commit(events);
    }

    fn message(&mut self) -> Event {
        self.messages += 1;
        let n = self.messages - u32::from(self.messages > 1 && self.below(5) == 0);
        let key = if self.below(3) == 0 { "agent:main:thread:a" } else { "agent:main:main" };
        Event::MessageReceived(Inbound {
            session: key.parse().unwrap(),
            kind: InboxKind::User,
            body: format!("message {n}"),
            idem_key: format!("key-{n}"),
            origin: format!("client-{}", self.below(2)),
            owner: "ann".to_owned(),
            mode: None,
            model: None,
            label: None,
            timeout_ms: None,
            sender: None,
            hops: 0,
        })
    }

    /// Something in flight comes to its end.
    fn result(&mut self) -> Option<Event> {
        if self.in_flight.is_empty() {
            return None;
        }
        let at = self.below(self.in_flight.len() as u64) as usize;
        Some(match self.in_flight.swap_remove(at) {
            Action::Pin { run, token, .. } => {
                Event::Pinned { run, token, prefix: "You are an agent.".to_owned(), tokens: 5 }
            }
            Action::CallModel(call) => {
                let (run, token, step) = (call.run, call.token, call.step);
                if self.below(8) == 0 {
                    let failure = ModelFailure {
                        class: FailureClass::Overload,
                        message: "overloaded".to_owned(),
                        retry_after_ms: Some(100),
                        paid: self.below(2) == 0,
                        overflow: Overflow::default(),
                    };
                    return Some(Event::ModelFailed { run, token, step, failure });
                }
                Event::ModelReplied { run, token, step, reply: self.reply() }
            }
            Action::StartTool(start) => {
                let (run, token, step) = (start.run, start.token, start.step);
                let unknown = self.below(9) == 0;
                let result = ToolDone {
                    text: "42".to_owned(),
                    is_error: unknown,
                    unknown,
                    background: false,
                };
                Event::ToolFinished { run, token, step, result }
            }
            Action::Check(check) => {
                let (run, token, step) = (check.run, check.token, check.step);
                Event::Checked { run, token, step, missing: Vec::new() }
            }
            Action::Prove { run, look } => {
                let pids = if self.below(4) == 0 { vec![4_711] } else { Vec::new() };
                Event::Halted { run, look, pids, calls: 0 }
            }
            Action::Abort { .. } => unreachable!("never kept"),
        })
    }

    fn reply(&mut self) -> ModelReply {
        let calls: Vec<PlannedCall> = match self.below(6) {
            0 | 1 => Vec::new(),
            2 => vec![self.tool(0), self.tool(1)],
            3 => vec![self.tool(0), self.spawn(1), self.wait(2)],
            4 => vec![self.spawn(0)],
            _ => vec![self.wait(0)],
        };
        let message = AssistantMessage {
            wire: Wire::Scripted,
            model: "m".to_owned(),
            asked: None,
            text: "so be it".to_owned(),
            calls: Vec::new(),
            stop: StopReason::End,
            raw: serde_json::value::RawValue::from_string("{}".to_owned()).unwrap(),
        };
        ModelReply {
            body: serde_json::to_string(&message).unwrap(),
            text: message.text,
            calls,
            usage: Usage { input: 10, output: 3, cache_read: 100, cache_write: 0 },
            model: "m".to_owned(),
            cut_at: (self.below(8) == 0).then_some(3),
        }
    }

    fn call(&mut self, n: u32, name: &str, plan: CallPlan) -> PlannedCall {
        let (name, arguments) = (name.to_owned(), "{}".to_owned());
        PlannedCall { call_id: format!("call_{n}"), name, arguments, command: None, plan }
    }

    fn tool(&mut self, n: u32) -> PlannedCall {
        let plan = match self.below(4) {
            0 => CallPlan::Refused("no such tool".to_owned()),
            1 => CallPlan::External(EffectClass::Opaque),
            _ => CallPlan::External(EffectClass::Pure),
        };
        self.call(n, "read", plan)
    }

    fn spawn(&mut self, n: u32) -> PlannedCall {
        let request = SpawnRequest {
            task_name: (self.below(3) == 0).then(|| "finder".to_owned()),
            cleanup: if self.below(2) == 0 { Cleanup::Keep } else { Cleanup::Delete },
            idempotency_key: (self.below(3) == 0).then(|| format!("s{}", self.below(9))),
            ..SpawnRequest::of(&format!("find {}", self.below(6)))
        };
        self.call(n, "sessions_spawn", CallPlan::Internal(InternalCall::spawn(request)))
    }

    fn wait(&mut self, n: u32) -> PlannedCall {
        let request = YieldRequest {
            message: (self.below(2) == 0).then(|| "remember".to_owned()),
            acknowledgment: None,
            wait_for: if self.below(2) == 0 { WaitFor::All } else { WaitFor::Any },
            at_least: None,
            timeout: (self.below(2) == 0).then_some(Duration::from_secs(20)),
        };
        self.call(n, "sessions_yield", CallPlan::Internal(InternalCall::Yield(request)))
    }
}

fn open(dir: &tempfile::TempDir, limits: &Arc<Limits>, node: NodeId) -> Option<Sqlite> {
    let limits = Arc::clone(limits);
    Some(Sqlite::open_with(dir.path(), &options(), limits, node, machine::apply).unwrap())
}

fn run_of(action: &Action) -> types::RunId {
    match action {
        Action::Pin { run, .. } | Action::Abort { run } | Action::Prove { run, .. } => *run,
        Action::CallModel(call) => call.run,
        Action::StartTool(start) => start.run,
        Action::Check(check) => check.run,
    }
}

#[test]
fn the_file_and_the_memory_live_the_same_life() {
    let (mut runs, mut tasks) = (0, 0);
    for seed in 0..3 {
        let mut twins = Twins::new(seed);
        for step in 0..150 {
            twins.step();
            if step % 60 == 59 {
                twins.restart();
            }
            if step % 10 == 0 {
                twins.compare();
            }
        }
        twins.compare();
        let world = twins.memory.ask(|rows| rows.snapshot()).unwrap();
        runs += world.runs.len();
        tasks += world.tasks.len();
    }
    assert!(runs > 50 && tasks > 10, "a life in which little happens: {runs} runs, {tasks} tasks");
}
