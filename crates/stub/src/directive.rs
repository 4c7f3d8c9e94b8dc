//! The language of directives: what the stub shall answer, written into the prompt.
//!
//! A user message that holds `<<stub PLAN>>` is answered by PLAN, one step for each assistant
//! message, so a whole tree of agents fits into one message:
//!
//! ```text
//! <<stub [{"spawn":[{"name":"leaf","count":3,"plan":[{"say":"from {name}"}]}]},
//!         {"when_results":3,"say":"all here: {results}"}]>>
//! ```
//!
//! PLAN is a JSON array of steps, or `{"name":NAME,"steps":[…]}`. A child's plan stands in its
//! parent's as JSON, and the stub writes it into the brief: nothing is escaped by hand, however
//! deep. Tests write the same with the builder, [`Plan`]; all fields are those of [`Step`].
//!
//! Where a plan stands is computed from the conversation alone, see [`Plan::position`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault::{Failure, Fault, FaultRule};

const OPEN: &str = "<<stub";
const CLOSE: &str = ">>";

/// Most steps of a plan with its repeats written out: a slip of a zero shall not fill memory.
const STEPS_MAX: usize = 10_000;

/// Most children of one spawn, for the same reason.
const COUNT_MAX: u32 = 10_000;

/// Yields in a row after which a step stops waiting for results: a gateway that refuses to
/// wait would otherwise be asked for ever.
const WAITS_MAX: u32 = 50;

/// What to answer, turn by turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The path of names from the root, `root.b.a-3`; `{name}` in a text stands for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub steps: Vec<Step>,
}

/// One assistant message, or none while it waits. The parts go out in the order think, say, call,
/// spawn, yield.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Thinking, signed. `reasoning_content` on the OpenAI wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think: Option<String>,
    /// Text. May hold `{results}`, `{last}`, `{tools}`, `{count}`, `{name}`, `{step}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<String>,
    /// Tool calls, in parallel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<Call>,
    /// `sessions_spawn` calls, in parallel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spawn: Vec<Spawn>,
    /// A `sessions_yield` call: `true`, or its arguments.
    #[serde(default, rename = "yield", skip_serializing_if = "Option::is_none")]
    pub yield_: Option<Value>,
    /// While fewer distinct results than this have arrived since the directive, only yield.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_results: Option<u32>,
    /// The same step so many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// Wait before the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// What goes wrong. Counted by request (its idempotency key, or else its conversation), so
    /// `times: 1` fails the first attempt and lets the second through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultRule>,
    /// End as if the output limit was reached (`length`) or the answer withheld (`refusal`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// A tool call. In `arguments`, an object `{"$result":{"name":TOOL,"pointer":"/a/b"}}` stands
/// for that part of the newest result of TOOL, read as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub name: String,
    #[serde(default = "empty_object")]
    pub arguments: Value,
    /// Sends these bytes as arguments instead: broken JSON, say. On the Anthropic wire only in
    /// a stream, since its whole messages have no place for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

/// One child, or `count` of them, named `name-1`, `name-2` and so on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the child does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<Step>>,
    /// Words of the brief, before the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// More arguments of `sessions_spawn`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    Length,
    Refusal,
}

/// A directive that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    #[error("directive: expected JSON after `<<stub`: {0}")]
    Json(String),
    #[error("directive: expected `>>` after the plan, got {0:?}")]
    Unclosed(String),
    #[error("directive: step {step}: {reason}")]
    Step { step: usize, reason: String },
}

/// Where a plan stands in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Answer with this step.
    At(usize),
    /// Yield: this step waits for more results.
    Waiting(usize),
    /// This step has yielded [`WAITS_MAX`] times in vain.
    GaveUp(usize),
    /// All steps are done.
    Done,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPlan {
    Steps(Vec<Value>),
    Named(RawNamed),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNamed {
    #[serde(default)]
    name: String,
    steps: Vec<Value>,
}

impl Plan {
    pub fn new() -> Plan {
        Plan::default()
    }

    /// Reads the first directive in `text`, if there is one.
    pub fn find(text: &str) -> Option<Result<Plan, DirectiveError>> {
        let start = text.find(OPEN)? + OPEN.len();
        Some(Plan::parse(&text[start..]))
    }

    /// Reads `JSON >>`. The JSON's own end is looked for, not the first `>>`: that may be inside.
    fn parse(text: &str) -> Result<Plan, DirectiveError> {
        let json = |error: serde_json::Error| DirectiveError::Json(error.to_string());
        let mut stream = serde_json::Deserializer::from_str(text).into_iter::<RawPlan>();
        let raw = match stream.next() {
            Some(raw) => raw.map_err(json)?,
            None => return Err(DirectiveError::Json("nothing there".to_owned())),
        };
        let rest = text[stream.byte_offset()..].trim_start();
        if !rest.starts_with(CLOSE) {
            return Err(DirectiveError::Unclosed(rest.chars().take(20).collect()));
        }
        let (name, steps) = match raw {
            RawPlan::Steps(steps) => (String::new(), steps),
            RawPlan::Named(named) => (named.name, named.steps),
        };
        let plan = Plan { name, steps: read_steps(steps)? };
        plan.unrolled()
    }

    /// Writes repeats out, and hangs steps that only fail onto the step after them: a failed
    /// answer leaves no message in the conversation, so it cannot be a turn of its own.
    pub fn unrolled(self) -> Result<Plan, DirectiveError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut pending: Vec<FaultRule> = Vec::new();
        let last = self.steps.len().saturating_sub(1);
        for (index, mut step) in self.steps.into_iter().enumerate() {
            step.check(index)?;
            let repeat = step.repeat.take().unwrap_or(1) as usize;
            if steps.len() + repeat > STEPS_MAX {
                let reason = format!("a plan has at most {STEPS_MAX} steps, repeats included");
                return Err(DirectiveError::Step { step: index, reason });
            }
            if step.is_silent() && !step.faults.is_empty() && index < last {
                pending.append(&mut step.faults);
                continue;
            }
            step.faults.splice(0..0, pending.drain(..));
            steps.extend(std::iter::repeat_n(step, repeat));
        }
        Ok(Plan { name: self.name, steps })
    }

    /// Walks the plan: `seen[i]` is how many results had arrived before assistant message `i`
    /// since the directive, and `now` how many have by now. A message sent while its step still
    /// waited was a yield, and the step comes again; any other took one step.
    pub fn position(&self, seen: &[u32], now: u32) -> Position {
        let (mut at, mut waits) = (0, 0);
        for results in seen.iter().copied().chain([now]).enumerate() {
            let (turn, results) = results;
            let current = turn == seen.len();
            let Some(step) = self.steps.get(at) else { return Position::Done };
            let waiting = step.when_results.is_some_and(|needed| results < needed);
            match (waiting, current) {
                (true, true) if waits >= WAITS_MAX => return Position::GaveUp(at),
                (true, true) => return Position::Waiting(at),
                (false, true) => return Position::At(at),
                // The step gave up here: that ended the plan.
                (true, false) if waits >= WAITS_MAX => return Position::Done,
                (true, false) => waits += 1,
                (false, false) => (at, waits) = (at + 1, 0),
            }
        }
        Position::Done
    }

    /// Writes the plan as text for a prompt.
    pub fn to_brief(&self) -> String {
        let json = match self.name.is_empty() {
            true => serde_json::to_string(&self.steps),
            false => serde_json::to_string(self),
        };
        // Plain data with string keys always has a JSON form.
        format!("{OPEN} {}{CLOSE}", json.unwrap_or_default())
    }
}

/// Reads steps one by one, so that an error names its step.
fn read_steps(steps: Vec<Value>) -> Result<Vec<Step>, DirectiveError> {
    let read = |(step, value)| {
        serde_json::from_value(value)
            .map_err(|error| DirectiveError::Step { step, reason: error.to_string() })
    };
    steps.into_iter().enumerate().map(read).collect()
}

impl Step {
    /// Says whether the step has nothing to answer with.
    fn is_silent(&self) -> bool {
        let speaks = self.say.is_some() || self.think.is_some() || self.yield_.is_some();
        !speaks && self.call.is_empty() && self.spawn.is_empty() && self.when_results.is_none()
    }

    fn check(&self, step: usize) -> Result<(), DirectiveError> {
        let wrong = |reason: &str| Err(DirectiveError::Step { step, reason: reason.to_owned() });
        if self.is_silent() && self.faults.is_empty() && self.stop.is_none() {
            return wrong("says nothing; give it say, call, spawn, yield, think or faults");
        }
        if self.spawn.iter().any(|spawn| spawn.plan.is_none() && spawn.task.is_none()) {
            return wrong("a spawn needs a plan or a task");
        }
        if self.spawn.iter().any(|spawn| spawn.count.unwrap_or(1) > COUNT_MAX) {
            return wrong("a spawn has too many children");
        }
        if self.call.iter().any(|call| !call.arguments.is_object()) {
            return wrong("the arguments of a call are an object");
        }
        match &self.yield_ {
            None | Some(Value::Bool(true) | Value::Object(_)) => Ok(()),
            Some(_) => wrong("yield is true or an object of arguments"),
        }
    }

    /// Returns the arguments of this step's `sessions_yield`.
    pub fn yield_arguments(&self) -> Value {
        match &self.yield_ {
            Some(Value::Object(arguments)) => Value::Object(arguments.clone()),
            _ => empty_object(),
        }
    }
}

impl Spawn {
    /// Returns the arguments of the `sessions_spawn` calls, one for each child of `parent`.
    pub fn arguments(&self, parent: &str) -> Vec<Value> {
        let one = |number: Option<u32>| {
            let name = match (&self.name, number) {
                (Some(name), Some(number)) => format!("{name}-{number}"),
                (Some(name), None) => name.clone(),
                (None, Some(number)) => format!("child-{number}"),
                (None, None) => String::new(),
            };
            self.child(parent, &name)
        };
        match self.count {
            None => vec![one(None)],
            Some(count) => (1..=count).map(|number| one(Some(number))).collect(),
        }
    }

    fn child(&self, parent: &str, name: &str) -> Value {
        let path = match (parent, name) {
            (parent, "") => parent.to_owned(),
            ("", name) => name.to_owned(),
            (parent, name) => format!("{parent}.{name}"),
        };
        let words = self.task.iter().cloned();
        let plan = self
            .plan
            .iter()
            .map(|steps| Plan { name: path.clone(), steps: steps.clone() }.to_brief());
        let brief: Vec<String> = words.chain(plan).collect();
        let mut arguments = Map::new();
        arguments.insert("task".to_owned(), brief.join("\n").into());
        if !path.is_empty() {
            arguments.insert("label".to_owned(), path.into());
        }
        if is_task_name(name) {
            arguments.insert("taskName".to_owned(), name.into());
        }
        arguments.extend(self.args.clone());
        Value::Object(arguments)
    }
}

/// `[a-z][a-z0-9_-]{0,63}`: what `sessions_spawn` takes as a handle.
fn is_task_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    name.len() <= 64
        && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && name.bytes().all(inner)
}

/// The builder: each method adds a step, but those that say otherwise.
impl Plan {
    pub fn named(name: &str) -> Plan {
        Plan { name: name.to_owned(), steps: Vec::new() }
    }

    pub fn step(mut self, step: Step) -> Plan {
        self.steps.push(step);
        self
    }

    pub fn say(self, text: &str) -> Plan {
        self.step(Step { say: Some(text.to_owned()), ..Step::default() })
    }

    /// Calls one tool.
    pub fn call(self, name: &str, arguments: Value) -> Plan {
        self.calls([(name, arguments)])
    }

    /// Calls several tools in parallel.
    pub fn calls<'a>(self, calls: impl IntoIterator<Item = (&'a str, Value)>) -> Plan {
        let call = calls
            .into_iter()
            .map(|(name, arguments)| Call { name: name.to_owned(), arguments, raw: None })
            .collect();
        self.step(Step { call, ..Step::default() })
    }

    /// Spawns children in parallel, each with its plan.
    pub fn spawn<'a>(self, children: impl IntoIterator<Item = (&'a str, Plan)>) -> Plan {
        let spawn = children
            .into_iter()
            .map(|(name, plan)| Spawn {
                name: Some(name.to_owned()),
                plan: Some(plan.steps),
                ..Spawn::default()
            })
            .collect();
        self.step(Step { spawn, ..Step::default() })
    }

    /// Spawns `count` children with the same plan, `name-1` to `name-count`.
    pub fn spawn_many(self, count: u32, name: &str, plan: Plan) -> Plan {
        let spawn = Spawn {
            name: Some(name.to_owned()),
            plan: Some(plan.steps),
            count: Some(count),
            ..Spawn::default()
        };
        self.step(Step { spawn: vec![spawn], ..Step::default() })
    }

    pub fn yield_(self) -> Plan {
        self.step(Step { yield_: Some(Value::Bool(true)), ..Step::default() })
    }

    pub fn yield_with(self, arguments: Value) -> Plan {
        self.step(Step { yield_: Some(arguments), ..Step::default() })
    }

    /// Yields until `results` have arrived, then says `text`.
    pub fn say_when_results(self, results: u32, text: &str) -> Plan {
        let say = Some(text.to_owned());
        self.step(Step { when_results: Some(results), say, ..Step::default() })
    }

    /// Changes the newest step: it thinks first.
    pub fn thinking(self, text: &str) -> Plan {
        self.change(|step| step.think = Some(text.to_owned()))
    }

    /// Changes the newest step: it answers only after `ms`.
    pub fn after_ms(self, ms: u64) -> Plan {
        self.change(|step| step.delay_ms = Some(ms))
    }

    /// Changes the newest step: it goes wrong so.
    pub fn fault(self, rule: FaultRule) -> Plan {
        self.change(|step| step.faults.push(rule))
    }

    /// Changes the newest step: its first `times` attempts fail with `status`.
    pub fn failing(self, status: u16, times: u32) -> Plan {
        self.fault(FaultRule::times(Fault::Error(Failure::status(status)), times))
    }

    /// Changes the newest step: it comes `times` times.
    pub fn repeated(self, times: u32) -> Plan {
        self.change(|step| step.repeat = Some(times))
    }

    /// Changes the newest step.
    ///
    /// # Panics
    ///
    /// If there is none yet.
    pub fn change(mut self, change: impl FnOnce(&mut Step)) -> Plan {
        change(self.steps.last_mut().expect("a plan needs a step before it can change one"));
        self
    }
}

#[cfg(test)]
mod tests;
