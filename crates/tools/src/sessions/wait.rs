//! The arguments of `sessions_yield`.

use std::time::Duration;

use serde_json::Value;
use types::{TaskId, TaskTarget, WaitFor, WaitRequest, YieldRequest};

use super::{MESSAGE_BYTES_MAX, SECONDS_MAX};
use crate::arguments::{Arguments, Refused, wrong};

/// Most tasks that one yield may name; a session has far fewer open children.
pub(super) const TASKS_MAX: usize = 1_000;

const EXPECTED: &str = "`all`, `any`, `message` or a list of task ids";

pub(super) const REFUSED: &[Refused] = &[
    ("timeout", "use `timeoutSeconds`"),
    ("timeout_seconds", "use `timeoutSeconds`"),
    ("ids", "use `waitFor` with a list of task ids"),
    ("taskIds", "use `waitFor` with a list of task ids"),
    ("reply", "use `acknowledgment`"),
];

pub(super) fn parse(arguments: &Arguments) -> Result<YieldRequest, String> {
    let wait_for = wait_for(arguments.value("waitFor"))?;
    let at_least = arguments.integer("atLeast", 1..=TASKS_MAX as u32)?;
    match (&wait_for, at_least) {
        (WaitFor::Any | WaitFor::Message, Some(_)) => {
            return Err("`atLeast` goes with `waitFor` `all` or a list of task ids".to_owned());
        }
        (WaitFor::Tasks(tasks), Some(at_least)) if at_least as usize > tasks.len() => {
            let count = tasks.len();
            return Err(format!("`atLeast` is {at_least}, but `waitFor` names {count} tasks"));
        }
        _ => {}
    }
    let text = |name| arguments.word(name, MESSAGE_BYTES_MAX).map(|text| text.map(str::to_owned));
    let seconds = arguments.integer("timeoutSeconds", 1..=SECONDS_MAX)?;
    Ok(YieldRequest {
        message: text("message")?,
        acknowledgment: text("acknowledgment")?,
        wait_for,
        at_least,
        timeout: seconds.map(|seconds| Duration::from_secs(seconds.into())),
    })
}

/// How long `subagents` waits if it does not say.
pub(super) const WAIT_SECONDS: u32 = 30;

/// The arguments of `subagents`, action `wait`.
pub(super) fn for_tasks(arguments: &Arguments) -> Result<WaitRequest, String> {
    let mut targets = Vec::new();
    if let Some(target) = arguments.word("target", super::NAME_BYTES_MAX)? {
        targets.push(TaskTarget(target.to_owned()));
    }
    if let Some(value) = arguments.value("taskIds") {
        let items = value.as_array().filter(|items| (1..=TASKS_MAX).contains(&items.len()));
        let named = items.map(|items| items.iter().map(|item| item.as_str()).collect());
        let Some(Some(named)) =
            named.map(|named: Vec<Option<&str>>| named.into_iter().collect::<Option<Vec<&str>>>())
        else {
            return Err(wrong("taskIds", "a list of tasks, not empty", value));
        };
        targets.extend(named.into_iter().map(|name| TaskTarget(name.trim().to_owned())));
    }
    if targets.is_empty() {
        return Err("`target` is missing: the action `wait` needs a task, or `taskIds`".to_owned());
    }
    let seconds = arguments.integer("timeoutSeconds", 1..=SECONDS_MAX)?.unwrap_or(WAIT_SECONDS);
    Ok(WaitRequest { targets, timeout: Duration::from_secs(seconds.into()) })
}

fn wait_for(value: Option<&Value>) -> Result<WaitFor, String> {
    let Some(value) = value else { return Ok(WaitFor::All) };
    match value {
        Value::String(word) => match word.trim() {
            "all" | "" => Ok(WaitFor::All),
            "any" => Ok(WaitFor::Any),
            "message" => Ok(WaitFor::Message),
            _ => Err(wrong("waitFor", EXPECTED, value)),
        },
        Value::Array(items) if (1..=TASKS_MAX).contains(&items.len()) => tasks(items),
        other => Err(wrong("waitFor", EXPECTED, other)),
    }
}

fn tasks(items: &[Value]) -> Result<WaitFor, String> {
    let mut tasks: Vec<TaskId> = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let name = format!("waitFor[{i}]");
        let id = item.as_str().and_then(|text| text.parse().ok());
        let id =
            id.ok_or_else(|| wrong(&name, "a task id such as `sessions_spawn` returns", item))?;
        // Named twice, a task would count twice.
        if !tasks.contains(&id) {
            tasks.push(id);
        }
    }
    Ok(WaitFor::Tasks(tasks))
}
