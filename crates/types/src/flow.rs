//! Declared flows: a list of tasks, and which of them wait for which others.
//!
//! A file, a call of the protocol and a tool call hold the same JSON, and it becomes a
//! [`FlowRequest`] here. Whether the graph can be carried out is decided in `machine::flow`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{
    Access, AgentId, Announce, Budget, FlowId, SessionRef, TaskId, serde_as_str, word_enum,
};

/// Longest `timeoutSeconds`: a year.
const SECONDS_MAX: u64 = 31_536_000;

/// Most attempts after the first. A task that fails more often than that does not fail by chance.
pub const RETRIES_MAX: u32 = 20;

word_enum! {
    /// What becomes of the others when a task of a flow has failed for good.
    pub enum OnFailure {
        /// What has not been started is skipped. What runs goes on to its end.
        Stop = "stop",
        /// Only what depends on it is skipped.
        Continue = "continue",
    }
}

/// A declared flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowRequest {
    /// A title for people.
    pub name: String,
    pub tasks: Vec<FlowTask>,
    /// Tasks of it that run at a time; all that can if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    #[serde(default = "stop")]
    pub on_failure: OnFailure,
    #[serde(default = "to_parent")]
    pub announce: Announce,
    /// The same key of the same requester is the same flow, also after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Cap of all its tasks together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// One task of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowTask {
    pub id: NodeName,
    /// The agent of the session that asks if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The brief.
    pub task: String,
    /// Tasks that must have completed first. Their results are in the brief.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<NodeName>,
    /// A stable session instead of a new one, resolved under the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<SessionRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Further attempts after one that failed.
    #[serde(default)]
    pub retries: u32,
    /// Bound on each attempt. Zero means none; absent means the configured default.
    #[serde(
        default,
        rename = "timeoutSeconds",
        serialize_with = "to_seconds",
        deserialize_with = "from_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    #[serde(default = "full")]
    pub access: Access,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Cap of each attempt, and all below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

impl FlowTask {
    /// A task with every field at its default.
    pub fn of(id: NodeName, task: &str) -> FlowTask {
        FlowTask {
            id,
            agent_id: None,
            task: task.to_owned(),
            depends_on: Vec::new(),
            session_key: None,
            label: None,
            retries: 0,
            timeout: None,
            access: Access::Full,
            model: None,
            budget: None,
        }
    }
}

/// What is wrong with a declaration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", at(path))]
pub struct FlowFault {
    /// As in `tasks[2].dependsOn[0]`; empty for the whole.
    pub path: String,
    pub why: String,
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("`{path}`: ") }
}

impl FlowRequest {
    /// A flow with every field at its default.
    pub fn of(name: &str, tasks: Vec<FlowTask>) -> FlowRequest {
        FlowRequest {
            name: name.to_owned(),
            tasks,
            max_parallel: None,
            on_failure: OnFailure::Stop,
            announce: Announce::Parent,
            idempotency_key: None,
            budget: None,
        }
    }

    /// Reads a declaration.
    pub fn read(value: Value) -> Result<FlowRequest, FlowFault> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            FlowFault { path, why: error.into_inner().to_string() }
        })
    }
}

/// The name of a task within its flow: a letter, then up to 63 letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a letter and up to 63 letters, digits, `_` or `-`, got {0:?}")]
pub struct ParseNodeNameError(String);

impl std::str::FromStr for NodeName {
    type Err = ParseNodeNameError;

    fn from_str(text: &str) -> Result<NodeName, ParseNodeNameError> {
        let rest = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let valid = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(rest);
        match valid {
            true => Ok(NodeName(text.to_owned())),
            false => Err(ParseNodeNameError(text.chars().take(80).collect())),
        }
    }
}

serde_as_str!(NodeName);

/// How a caller names a flow: by its own id, or by that of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlowTarget {
    Flow(FlowId),
    Task(TaskId),
}

impl std::str::FromStr for FlowTarget {
    type Err = crate::ParseIdError;

    fn from_str(text: &str) -> Result<FlowTarget, crate::ParseIdError> {
        if let Ok(task) = text.parse() {
            return Ok(FlowTarget::Task(task));
        }
        text.parse().map(FlowTarget::Flow)
    }
}

impl fmt::Display for FlowTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlowTarget::Flow(id) => id.fmt(f),
            FlowTarget::Task(id) => id.fmt(f),
        }
    }
}

fn stop() -> OnFailure {
    OnFailure::Stop
}

fn to_parent() -> Announce {
    Announce::Parent
}

fn full() -> Access {
    Access::Full
}

fn to_seconds<S: Serializer>(bound: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
    bound.map(|bound| bound.as_secs()).serialize(out)
}

fn from_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let Some(seconds) = Option::<u64>::deserialize(from)? else { return Ok(None) };
    if seconds > SECONDS_MAX {
        let why = format!("expected seconds from 0 to {SECONDS_MAX}, got {seconds}");
        return Err(serde::de::Error::custom(why));
    }
    Ok(Some(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flow_with_everything() {
        let declared = json!({
            "name": "release", "maxParallel": 2, "onFailure": "continue", "announce": "none",
            "idempotencyKey": "k",
            "tasks": [
                { "id": "build", "task": "build it" },
                { "id": "test", "agentId": "ops", "task": "test it", "dependsOn": ["build"],
                  "sessionKey": "thread:tests", "label": "Tests", "retries": 2,
                  "timeoutSeconds": 90, "access": "read-only", "model": "p/m" },
            ],
        });
        let flow = FlowRequest::read(declared).unwrap();
        let name = |text: &str| text.parse::<NodeName>().unwrap();
        assert_eq!(flow.tasks[0], FlowTask::of(name("build"), "build it"));
        let test = &flow.tasks[1];
        assert_eq!(test.depends_on, [name("build")]);
        assert_eq!(test.timeout, Some(Duration::from_secs(90)));
        assert_eq!((test.retries, test.access), (2, Access::ReadOnly));
        assert_eq!((flow.max_parallel, flow.on_failure), (Some(2), OnFailure::Continue));
        let again = FlowRequest::read(serde_json::to_value(&flow).unwrap()).unwrap();
        assert_eq!(again, flow, "what is written is read back");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let task = |more: Value| {
            let mut task = json!({ "id": "a", "task": "x" });
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "name": "f", "tasks": [{ "id": "b", "task": "y" }, task] })
        };
        let table = [
            (json!({ "tasks": [] }), "missing field `name`"),
            (json!({ "name": "f" }), "missing field `tasks`"),
            (json!({ "name": "f", "tasks": [], "budget": 1 }), "`budget`: invalid type: integer"),
            (
                task(json!({ "budget": { "usd": -1 } })),
                "`tasks[1].budget.usd`: expected US dollars",
            ),
            (task(json!({ "budget": { "eur": 1 } })), "`tasks[1].budget.eur`: unknown field"),
            (task(json!({ "dependson": [] })), "`tasks[1].dependson`: unknown field `dependson`"),
            (task(json!({ "id": "1a" })), "`tasks[1].id`: expected a letter and up to 63"),
            (task(json!({ "dependsOn": ["a b"] })), "`tasks[1].dependsOn[0]`: expected a letter"),
            (task(json!({ "retries": -1 })), "`tasks[1].retries`: invalid value: integer `-1`"),
            (task(json!({ "timeoutSeconds": 1e12 })), "`tasks[1].timeoutSeconds`: "),
            (task(json!({ "access": "some" })), "`tasks[1].access`: expected one of"),
            (task(json!({ "agentId": "-" })), "`tasks[1].agentId`: "),
            (json!({ "name": "f", "tasks": [], "onFailure": "retry" }), "`onFailure`: expected"),
        ];
        for (declared, told) in table {
            let fault = FlowRequest::read(declared.clone()).unwrap_err().to_string();
            assert!(fault.starts_with(told), "{declared}: {fault}");
        }
    }
}
