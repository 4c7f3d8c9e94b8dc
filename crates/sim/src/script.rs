//! Agents that follow a script: what a model says when it is asked.
//!
//! A script is a function of what it is shown, so a run can be lived again. The random one draws
//! from its seed and the place of the call, and does everything that a model may do to a gateway:
//! it spawns, yields, sends, kills and steers, names what is not there, says nothing, and fails.

mod ask;
mod budget;
mod context;
mod failover;
mod card;
mod warm;

use std::fmt;
use std::time::Duration;

use machine::check::World;
use machine::event::{CallPlan, ModelFailure, ModelReply, Overflow, PlannedCall};
use machine::rows::{EntryKind, GateKey, Purpose, Run, Task};
use types::{
    Access, Announce, Cleanup, Deliverables, EffectClass, FailureClass, FlowId, FlowRequest,
    FlowTarget, FlowTask, InternalCall, NodeName, OnFailure, SendMode, SendRequest, SendTarget,
    SessionRef, SpawnRequest, TaskId, TaskTarget, Usage, WaitFor, WaitRequest, YieldRequest,
};
use uuid::Uuid;

use crate::plan::{has_budgets, has_contexts, has_fallbacks, has_questions};
use crate::rng::Rng;

/// Tasks of one simulated life. Agents that could spawn for ever would never come to rest.
const TASKS_MAX: usize = 24;

/// Answers of one session after which its agent only talks, for the same reason.
const BUSY_ANSWERS: usize = 9;

/// What a model is shown.
#[derive(Debug)]
pub struct Asked<'a> {
    pub world: &'a World,
    pub run: &'a Run,
    pub step: u32,
    pub depth: u32,
}

/// What it says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Text(String),
    Calls(Vec<PlannedCall>),
    Fails(ModelFailure),
}

/// Decides what a model says.
pub type Script = Box<dyn Fn(&Asked<'_>) -> Said>;

impl Asked<'_> {
    /// Entries of one kind in the conversation.
    pub fn count(&self, kind: EntryKind) -> usize {
        let own = self.world.entries.iter().filter(|e| e.session_id == self.run.session_id);
        own.filter(|entry| entry.kind == kind).count()
    }

    /// What the model is called for.
    pub fn purpose(&self) -> Purpose {
        let mut steps = self.world.steps.iter().rev();
        let step = steps.find(|step| step.run == self.run.id && step.n == self.step);
        step.map_or(Purpose::Reply, |step| step.purpose)
    }

    /// Tasks that this session has asked for.
    pub fn children(&self) -> Vec<&Task> {
        let tasks = self.world.tasks.iter();
        tasks.filter(|task| task.requester_key == self.run.session_key).collect()
    }
}

/// The whole answer, as the runtime hands it in.
pub fn reply(asked: &Asked<'_>, text: &str, calls: Vec<PlannedCall>) -> ModelReply {
    ModelReply {
        body: format!("{{\"text\":{text:?},\"calls\":{}}}", calls.len()),
        text: text.to_owned(),
        calls,
        usage: Usage { input: 100, output: 10, cache_read: u64::from(asked.step), cache_write: 1 },
        model: GateKey::base(&asked.run.model).to_owned(),
        cut_at: None,
    }
}

/// A call of a tool that the runtime runs.
pub fn external(call_id: &str, effect: EffectClass) -> PlannedCall {
    planned(call_id, effect.as_str(), CallPlan::External(effect))
}

/// A call that the machine carries out.
pub fn internal(call_id: &str, call: InternalCall) -> PlannedCall {
    planned(call_id, "internal", CallPlan::Internal(call))
}

/// As [`internal`], under the name that a model knows the tool by.
pub fn own(call_id: &str, call: InternalCall) -> PlannedCall {
    let name = match &call {
        InternalCall::Spawn(_) => "sessions_spawn",
        InternalCall::Yield(_) => "sessions_yield",
        InternalCall::Send(_) => "sessions_send",
        InternalCall::StartFlow(_) | InternalCall::CancelFlow { .. } => "flows",
        _ => "subagents",
    };
    planned(call_id, name, CallPlan::Internal(call))
}

pub fn refused(call_id: &str) -> PlannedCall {
    planned(call_id, "none", CallPlan::Refused("there is no tool `none`".to_owned()))
}

fn planned(call_id: &str, name: &str, plan: CallPlan) -> PlannedCall {
    PlannedCall {
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        arguments: "{}".to_owned(),
        command: None,
        plan,
    }
}

/// A spawn with nothing said but its brief.
pub fn spawn(brief: impl fmt::Display) -> SpawnRequest {
    SpawnRequest::of(&brief.to_string())
}

/// A yield that waits for `wait_for`.
pub fn wait(wait_for: WaitFor) -> YieldRequest {
    YieldRequest { message: None, acknowledgment: None, wait_for, at_least: None, timeout: None }
}

/// The script of a seed.
pub fn random(seed: u64) -> Script {
    Box::new(move |asked| {
        let place = format!("{} {}", asked.run.id, asked.step);
        let mut rng = Rng::about(seed, &place);
        let mut said = say(&mut rng, asked);
        // Dice of its own: lives that older seeds have found stay as they were.
        if !seed.is_multiple_of(3) {
            warm::vary(&mut Rng::about(seed, &format!("warm {place}")), &mut said);
        }
        if seed % 4 == 1 {
            card::vary(&mut Rng::about(seed, &format!("card {place}")), &mut said);
        }
        if has_budgets(seed) {
            budget::vary(&mut Rng::about(seed, &format!("budget {place}")), &mut said);
        }
        if has_fallbacks(seed) {
            failover::vary(&mut Rng::about(seed, &format!("failover {place}")), &mut said);
        }
        if has_contexts(seed) {
            context::vary(&mut Rng::about(seed, &format!("context {place}")), asked, &mut said);
        }
        if has_questions(seed) {
            ask::vary(&mut Rng::about(seed, &format!("ask {place}")), &mut said);
        }
        said
    })
}

fn say(rng: &mut Rng, asked: &Asked<'_>) -> Said {
    if rng.chance(80) {
        return Said::Fails(failure(rng));
    }
    if asked.count(EntryKind::Assistant) >= BUSY_ANSWERS || rng.chance(350) {
        return Said::Text(text(rng));
    }
    let mut calls = Vec::new();
    for i in 0..1 + rng.below(4) {
        calls.push(call(rng, asked, &format!("c{}_{i}", asked.step)));
    }
    if rng.chance(500) {
        let id = format!("y{}", asked.step);
        calls.push(own(&id, InternalCall::Yield(random_wait(rng, asked))));
    }
    Said::Calls(calls)
}

fn text(rng: &mut Rng) -> String {
    let texts =
        ["done", "done", "done", "done", "", " ", "NO_REPLY", "ANNOUNCE_SKIP", "REPLY_SKIP"];
    (*rng.pick(&texts)).to_owned()
}

/// A failure of this class, of which nothing more is said.
fn failure_of(class: FailureClass) -> ModelFailure {
    ModelFailure {
        class,
        message: format!("the model has failed: {class}"),
        retry_after_ms: None,
        paid: false,
        overflow: Overflow::default(),
    }
}

/// No provider says of itself that it was another: that is an answer.
fn any_class(rng: &mut Rng) -> FailureClass {
    let all = FailureClass::ALL.iter().filter(|class| **class != FailureClass::WrongModel);
    **rng.pick(&all.collect::<Vec<_>>())
}

fn failure(rng: &mut Rng) -> ModelFailure {
    let passing = [FailureClass::RateLimit, FailureClass::Overload, FailureClass::Network];
    let class = if rng.chance(700) { *rng.pick(&passing) } else { any_class(rng) };
    let retry_after_ms = rng.chance(300).then(|| rng.between(0, 20_000));
    let paid = rng.chance(300);
    ModelFailure { retry_after_ms, paid, ..failure_of(class) }
}

fn call(rng: &mut Rng, asked: &Asked<'_>, id: &str) -> PlannedCall {
    match rng.below(100) {
        0..45 if asked.world.tasks.len() < TASKS_MAX => {
            own(id, InternalCall::spawn(random_spawn(rng)))
        }
        45..52 => {
            let (target, message) = (target(rng, asked), "and this".to_owned());
            own(id, InternalCall::Steer { target, message })
        }
        52..57 => own(id, InternalCall::Kill { target: target(rng, asked) }),
        57..60 => refused(id),
        60..70 => own(id, InternalCall::Send(Box::new(random_send(rng, asked)))),
        70..72 => own(id, InternalCall::Wait(random_tasks(rng, asked))),
        72..75 => own(id, InternalCall::Yield(random_wait(rng, asked))),
        75..81 if asked.world.tasks.len() < TASKS_MAX => {
            own(id, InternalCall::StartFlow(Box::new(random_flow(rng))))
        }
        81..83 => own(id, InternalCall::CancelFlow { target: random_flow_id(rng, asked) }),
        _ => {
            use EffectClass::*;
            external(id, *rng.pick(&[Pure, Idempotent, Probed, Opaque, Opaque]))
        }
    }
}

pub(crate) fn random_spawn(rng: &mut Rng) -> SpawnRequest {
    let name = |rng: &mut Rng| format!("n{}", rng.below(6));
    let mut request = spawn(format!("brief {}", rng.below(8)));
    if rng.chance(500) {
        request.task_name = Some(name(rng));
    }
    if rng.chance(200) {
        request.idempotency_key = Some(name(rng));
    }
    if rng.chance(300) {
        request.announce = *rng.pick(&[Announce::None, Announce::Person]);
    }
    if rng.chance(200) {
        request.cleanup = Cleanup::Delete;
    }
    if rng.chance(200) {
        request.deliverables = Some(Deliverables { files: vec!["a.md".to_owned()], schema: None });
    }
    if rng.chance(250) {
        request.run_timeout = Some(Duration::from_millis(rng.below(30_000)));
    }
    if rng.chance(150) {
        request.access = Access::ReadOnly;
    }
    if rng.chance(100) {
        request.model = Some("no-such-model".to_owned());
    }
    if rng.chance(200) {
        request.agent = Some((*rng.pick(&["ops", "nobody"])).parse().expect("an agent id"));
    }
    request
}

/// A graph of a few tasks, now and then one that cannot be carried out.
pub(crate) fn random_flow(rng: &mut Rng) -> FlowRequest {
    let count = 1 + rng.below(5);
    let name = |n: u64| -> NodeName { format!("n{n}").parse().expect("a name") };
    let mut tasks = Vec::new();
    for n in 0..count {
        // A dependency on a later one, or on itself, may close a circle.
        let among = if rng.chance(30) { count } else { n };
        let mut task = FlowTask::of(name(n), &format!("part {n}"));
        task.depends_on = (0..among).filter(|_| rng.chance(400)).map(name).collect();
        task.retries = if rng.chance(400) { rng.below(3) as u32 } else { 0 };
        if rng.chance(250) {
            task.timeout = Some(Duration::from_millis(rng.below(30_000)));
        }
        if rng.chance(40) {
            task.agent_id = Some((*rng.pick(&["ops", "nobody"])).parse().expect("an agent id"));
        }
        tasks.push(task);
    }
    if rng.chance(500) {
        tasks.reverse();
    }
    FlowRequest {
        max_parallel: rng.chance(500).then(|| 1 + rng.below(3) as u32),
        on_failure: *rng.pick(OnFailure::ALL),
        announce: if rng.chance(200) { Announce::None } else { Announce::Parent },
        idempotency_key: rng.chance(100).then(|| format!("f{}", rng.below(3))),
        ..FlowRequest::of("flow", tasks)
    }
}

/// One of the flows there are, of this tree or of another; or none.
fn random_flow_id(rng: &mut Rng, asked: &Asked<'_>) -> FlowTarget {
    let flows = &asked.world.flows;
    if flows.is_empty() || rng.chance(100) {
        return FlowTarget::Flow(FlowId::new(Uuid::from_u128(7)));
    }
    let flow = rng.pick(flows);
    if rng.chance(500) { FlowTarget::Flow(flow.id) } else { FlowTarget::Task(flow.task) }
}

fn random_wait(rng: &mut Rng, asked: &Asked<'_>) -> YieldRequest {
    let some: Vec<TaskId> =
        asked.children().iter().map(|task| task.id).filter(|_| rng.chance(600)).collect();
    let wait_for = match rng.below(10) {
        0..5 => WaitFor::All,
        5..7 => WaitFor::Any,
        7 => WaitFor::Message,
        8 => WaitFor::Tasks(some),
        _ => WaitFor::Tasks(vec![TaskId::new(Uuid::from_u128(7))]),
    };
    YieldRequest {
        message: rng.chance(300).then(|| "remember the map".to_owned()),
        at_least: rng.chance(200).then(|| rng.below(4) as u32),
        timeout: rng.chance(300).then(|| Duration::from_millis(rng.below(60_000))),
        ..wait(wait_for)
    }
}

/// A message to anybody: the sessions of people, those of children, one that is not there.
fn random_send(rng: &mut Rng, asked: &Asked<'_>) -> SendRequest {
    let sessions = &asked.world.sessions;
    let target = match rng.below(10) {
        0 => SendTarget::Agent((*rng.pick(&["ops", "main", "nobody"])).parse().expect("an id")),
        1 => SendTarget::Label(format!("n{}", rng.below(6))),
        2 => SendTarget::Session("thread:none".parse().expect("a short key")),
        _ => SendTarget::Session(SessionRef::Full(rng.pick(sessions).key.clone())),
    };
    SendRequest {
        wait: Duration::from_millis(if rng.chance(300) { 0 } else { rng.below(60_000) }),
        mode: if rng.chance(150) { SendMode::Resume } else { SendMode::Message },
        idempotency_key: rng.chance(150).then(|| format!("k{}", rng.below(4))),
        watch: rng.chance(200),
        ..SendRequest::to(target, &format!("words {}", rng.below(6)))
    }
}

fn random_tasks(rng: &mut Rng, asked: &Asked<'_>) -> WaitRequest {
    let targets = (0..1 + rng.below(3)).map(|_| target(rng, asked)).collect();
    WaitRequest { targets, timeout: Duration::from_millis(1 + rng.below(60_000)) }
}

/// One of the tasks there are, of this tree or of another, by one of its names.
fn target(rng: &mut Rng, asked: &Asked<'_>) -> TaskTarget {
    let own = asked.children();
    let all: Vec<&Task> = asked.world.tasks.iter().collect();
    let tasks = if rng.chance(700) { own } else { all };
    if tasks.is_empty() || rng.chance(100) {
        return TaskTarget("nothing".to_owned());
    }
    let task = rng.pick(&tasks);
    TaskTarget(match rng.below(3) {
        0 => task.id.to_string(),
        1 => task.session_key.to_string(),
        _ => task.task_name.clone().unwrap_or_else(|| task.id.to_string()),
    })
}
