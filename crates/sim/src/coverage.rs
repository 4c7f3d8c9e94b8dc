//! What lives have exercised, counted: a promise that no life has put to the test is kept by luck.
//!
//! Three sorts of words are counted. What happens: each event, with what it asks for and what came
//! of it (`call Spawn accepted`, `ask Spawn depth_exceeded`). What meets what: an event that
//! strikes a run, with where that run stood (`Stop meets Waiting(Children)`), and a crash or a
//! drain with all that was open (`crash meets an open flow`). And what is left at the end: kinds
//! of rows and outcomes (`task cli`, `run timed_out`).
//!
//! The file `coverage.txt` says what must be exercised. A new operation belongs there: what is not
//! in it is counted too, but nobody misses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Write};
use std::ops::AddAssign;

use machine::check::World;
use machine::event::{Act, Change};
use machine::rows::{FlowNodeState, InboxState, Lifecycle, Outcome, StepKind, StepState, TaskKind};
use machine::run::Phase;
use machine::{Answer, Event, Notice};
use types::{RunId, SessionKey};

use crate::disk::Disk;

/// One thing a line; what is rare is marked.
const TEXT: &str = include_str!("../coverage.txt");

/// So many lives must have done all of it; a fifth of them what is not rare.
pub const LIVES: u64 = 1_000;

/// How often each thing was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    pub fn count(&mut self, what: String) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// What so many lives should have done, and have not.
    pub fn missing(&self, lives: u64) -> Vec<&'static str> {
        let lines = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let due = lines.filter_map(|line| match line.strip_prefix("~ ") {
            Some(rare) => (lives >= LIVES).then_some(rare),
            None => (lives >= LIVES / 5).then_some(line),
        });
        due.filter(|what| self.of(what) == 0).collect()
    }

    /// An event has been applied; `result` is what a tool call was told.
    pub fn event(&mut self, event: &Event, answer: &Answer, result: Option<&str>) {
        let word = word(event);
        let came = match (answer, result) {
            (Answer::Refused(refusal), _) => variant(refusal),
            (Answer::Told { text, .. }, _) => told(text),
            (Answer::Done, Some(body)) => told_by(body),
            (Answer::Accepted(accepted), _) if accepted.duplicate => "duplicate".to_owned(),
            (Answer::Commanded(told), _) if told.duplicate => "duplicate".to_owned(),
            (Answer::Commanded(told), _) if told.is_error => "error".to_owned(),
            (Answer::Fenced, _) => "fenced".to_owned(),
            (_, None) if matches!(event, Event::InternalCall { .. }) => "waits".to_owned(),
            _ => "done".to_owned(),
        };
        self.count(format!("{word} {came}"));
    }

    pub fn notice(&mut self, notice: &Notice) {
        self.count(format!("news {}", variant(notice)));
    }

    /// An event strikes a run that stands there, or a session in which none is open.
    pub fn strikes(&mut self, event: &Event, phase: Option<Phase>) {
        let word = word(event);
        match phase {
            Some(phase) => self.count(format!("{word} meets {phase:?}")),
            None => self.count(format!("{word} meets Idle")),
        }
    }

    /// Something strikes all at once: what is open then?
    pub fn meets(&mut self, what: &str, world: &World) {
        let mut open: BTreeSet<String> = BTreeSet::new();
        for run in world.runs.iter().filter(|run| !run.phase.ended()) {
            open.insert(format!("{:?}", run.phase));
        }
        for step in world.steps.iter().filter(|step| step.state == StepState::Intent) {
            let effect = step.effect.map_or("none", |effect| effect.as_str());
            if step.kind == StepKind::Tool {
                open.insert(format!("an open {effect} tool"));
            }
        }
        if world.flow_nodes.iter().any(|node| node.state == FlowNodeState::Running) {
            open.insert("an open flow".to_owned());
        }
        if world.tasks.iter().any(|task| task.cancelled.is_some() && task.outcome.is_none()) {
            open.insert("a stop under way".to_owned());
        }
        if world.inbox.iter().any(|row| row.state == InboxState::Queued) {
            open.insert("a waiting row".to_owned());
        }
        for other in open {
            self.count(format!("{what} meets {other}"));
        }
    }

    /// What is left of a life.
    pub fn rest(&mut self, world: &World) {
        for run in &world.runs {
            if let Phase::Ended(outcome) = run.phase {
                self.count(format!("run {outcome}"));
            }
        }
        for task in &world.tasks {
            self.count(format!("task {}", task.kind));
            if task.attempt > 1 {
                self.count("task tried again".to_owned());
            }
        }
        for row in &world.inbox {
            self.count(format!("row {} {}", row.kind, row.state));
        }
        for episode in &world.episodes {
            self.count(format!("episode {}", episode.reason));
        }
        for node in &world.flow_nodes {
            self.count(format!("node {}", node.state));
        }
        for step in world.steps.iter().filter(|step| step.kind == StepKind::Tool) {
            self.count(format!("tool {}", step.state));
        }
        for session in &world.sessions {
            if session.lifecycle == Lifecycle::Archived {
                self.count("session archived".to_owned());
            }
            if session.deleted.is_some() {
                self.count("session deleted".to_owned());
            }
        }
        for flow in &world.flows {
            let task = world.tasks.iter().find(|task| task.id == flow.task);
            let outcome = task.and_then(|task| task.outcome).map_or("open", Outcome::as_str);
            self.count(format!("flow {} {outcome}", flow.on_failure));
        }
        self.reuse(world);
        let ends = world.transcripts.iter().filter_map(|row| row.ended);
        ends.for_each(|(_, reason)| self.count(format!("transcript {reason}")));
    }
}

impl Coverage {
    /// The ways to a session that is there already.
    fn reuse(&mut self, world: &World) {
        let mut carried: BTreeMap<&SessionKey, u32> = BTreeMap::new();
        let begun: BTreeSet<RunId> = world.runs.iter().map(|run| run.id).collect();
        for task in &world.tasks {
            *carried.entry(&task.session_key).or_default() += 1;
            if task.kind != TaskKind::Flow && !begun.contains(&task.run) {
                self.count("task stopped in line".to_owned());
            }
        }
        for (key, _) in carried.iter().filter(|(_, count)| **count > 1) {
            self.count(format!("session {} takes another task", variant(&key.scope)));
        }
        let branches = world.transcripts.iter().filter(|row| row.base.is_some());
        branches.for_each(|_| self.count("transcript branched".to_owned()));
        let pooled = world.sessions.iter().filter(|row| row.pool_key.is_some());
        pooled.for_each(|_| self.count("session in the pool".to_owned()));
    }
}

/// An event that is about to be applied, and the run that it strikes from outside, if it does:
/// where that stands, or none if nothing is open in its session.
#[derive(Debug)]
pub struct Seen {
    event: Event,
    strikes: Option<Option<Phase>>,
}

pub fn before(disk: &Disk, event: &Event) -> Seen {
    Seen { event: event.clone(), strikes: strikes(disk, event) }
}

/// The event has been applied.
pub fn after(disk: &mut Disk, seen: Seen, answer: &Answer, news: &[Notice]) {
    let Seen { event, strikes } = seen;
    let told = match &event {
        Event::InternalCall { run, step, .. } => {
            let call = disk.step_row((*run, *step)).and_then(|step| step.call_id.clone());
            call.and_then(|call| disk.results.get(&(*run, call)))
        }
        _ => None,
    };
    disk.coverage.event(&event, answer, told.map(String::as_str));
    if let Some(phase) = strikes {
        disk.coverage.strikes(&event, phase);
    }
    news.iter().for_each(|notice| disk.coverage.notice(notice));
    if matches!(event, Event::Drain) {
        disk.coverage.meets("drain", &disk.world);
    }
}

fn strikes(disk: &Disk, event: &Event) -> Option<Option<Phase>> {
    let session = match event {
        Event::MessageReceived(inbound) => &inbound.session,
        Event::Stop { session, .. } | Event::Change { session, .. } => session,
        Event::Command(command) => &command.session,
        Event::StopTask { task, .. } | Event::StopBelow { task, .. } => {
            &disk.world.tasks.iter().find(|row| row.id == *task)?.session_key
        }
        Event::Due(timer) if timer.kind.of_run() => {
            let run = timer.subject.parse().ok().and_then(|run| disk.run_row(run))?;
            return Some(Some(run.phase));
        }
        _ => return None,
    };
    let row = disk.world.sessions.iter().find(|row| row.key == *session);
    let open = row.and_then(|row| row.open_run);
    Some(open.and_then(|run| disk.run_row(run)).map(|run| run.phase))
}

/// An event in a word or two: what it asks for, and of which kind it is.
fn word(event: &Event) -> String {
    match event {
        Event::InternalCall { call, .. } => format!("call {}", variant(call)),
        Event::Ask(asked) => format!("ask {}", variant(&asked.call)),
        Event::Command(command) => match &command.act {
            Act::Call(call) => format!("command {}", variant(call)),
            act => format!("command {}", variant(act)),
        },
        Event::Change { change: Change::Reset(reason), .. } => format!("change {reason}"),
        Event::Change { change, .. } => format!("change {}", variant(change)),
        Event::Due(timer) => format!("due {}", timer.kind),
        event => event.name().to_owned(),
    }
}

/// What a call was told: the code of its refusal, or the word of its success.
fn told(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let word = |name: &str| value[name].as_str().map(str::to_owned);
    word("code").or_else(|| word("status")).or_else(|| word("state")).unwrap_or("done".to_owned())
}

/// The same, from the entry of a tool's result.
fn told_by(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    told(value["text"].as_str().unwrap_or_default())
}

/// The name of a variant, without what it carries.
fn variant(value: &impl Debug) -> String {
    /// Takes a word in, and stops at its end.
    struct Word(String);

    impl Write for Word {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let word = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            self.0 += word;
            if word.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut word = Word(String::new());
    let _ = write!(word, "{value:?}");
    word.0
}

impl AddAssign<&Coverage> for Coverage {
    fn add_assign(&mut self, other: &Coverage) {
        for (what, times) in &other.0 {
            *self.0.entry(what.clone()).or_default() += times;
        }
    }
}

/// A line for each thing.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.0 {
            writeln!(f, "{times:>9}  {what}")?;
        }
        Ok(())
    }
}
