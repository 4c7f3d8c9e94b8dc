//! `health` and `status`: how the gateway is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::{AgentId, RunId, SessionKey, TaskId, Timestamp, Usage};

use crate::config::ConfigStanding;
use crate::fields::{Fields, InvalidField};
use crate::method::Params;
use crate::notice::{ProviderGate, QueueWait};
use crate::stop::StopItem;
use crate::usage::BudgetRow;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthParams {
    /// Look now; a snapshot that is a little old will not do.
    pub probe: bool,
}

impl Params for HealthParams {
    fn read(fields: &Fields<'_>) -> Result<HealthParams, InvalidField> {
        Ok(HealthParams { probe: fields.boolean("probe")?.unwrap_or(false) })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusParams {
    /// Also what the last start has found and taken over.
    pub last_restart: bool,
}

impl Params for StatusParams {
    fn read(fields: &Fields<'_>) -> Result<StatusParams, InvalidField> {
        Ok(StatusParams { last_restart: fields.boolean("lastRestart")?.unwrap_or(false) })
    }
}

/// The result of `health`, its event, and a part of `hello-ok`. The schema allows no fields of
/// our own here; they are in [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Always true: a gateway that is not well does not answer.
    pub ok: bool,
    pub ts: Timestamp,
    pub duration_ms: u64,
    /// Chat channels: none are served yet, and clients want the fields.
    #[serde(default)]
    pub channels: BTreeMap<String, Value>,
    #[serde(default)]
    pub channel_order: Vec<String>,
    #[serde(default)]
    pub channel_labels: BTreeMap<String, String>,
    pub heartbeat_seconds: u64,
    pub default_agent_id: AgentId,
    pub agents: Vec<AgentHealth>,
    pub sessions: SessionsHealth,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentHealth {
    pub agent_id: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub is_default: bool,
    pub heartbeat: Heartbeat,
    pub sessions: SessionsHealth,
}

/// An agent's heartbeat. Off until heartbeats are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    pub enabled: bool,
    pub every: String,
    pub every_ms: Option<u64>,
    pub prompt: String,
    pub target: String,
    pub ack_max_chars: u64,
}

impl Heartbeat {
    pub fn off() -> Heartbeat {
        Heartbeat {
            enabled: false,
            every: "disabled".to_owned(),
            every_ms: None,
            prompt: String::new(),
            target: "none".to_owned(),
            ack_max_chars: 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsHealth {
    /// The database.
    pub path: String,
    pub count: u64,
    /// The few that were last active.
    pub recent: Vec<RecentSession>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentSession {
    pub key: SessionKey,
    pub updated_at: Option<Timestamp>,
    /// Milliseconds since then.
    pub age: Option<u64>,
}

/// The result of `status`: what runs, what waits, and for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub runtime_version: String,
    pub ts: Timestamp,
    pub uptime_ms: u64,
    /// This start of the gateway.
    pub node_id: String,
    pub default_agent_id: AgentId,
    pub sessions: SessionsHealth,
    pub runs: RunCounts,
    pub tasks: TaskCounts,
    pub lanes: Vec<Lane>,
    /// Sessions by what they do now.
    #[serde(default)]
    pub activity: BTreeMap<String, u64>,
    #[serde(default)]
    pub ledger: Ledger,
    /// Runs that have stood in line for more than 2 s, longest first; a few of them.
    #[serde(default)]
    pub queue_waits: Vec<QueueWait>,
    /// Gates of providers that are not open.
    #[serde(default)]
    pub gates: Vec<ProviderGate>,
    /// Caps that somebody waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over_budget: Vec<BudgetRow>,
    /// Which configuration holds, and what is wrong with the file. Older gateways do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigStanding>,
    /// Results and answers that have reached nobody; `tasks.audit` lists them.
    #[serde(default)]
    pub dead_letters: u64,
    /// Commands that wait until a person allows them.
    #[serde(default, skip_serializing_if = "Waiting::is_none")]
    pub approvals: Waiting,
    /// Runs that were ended, and of which something is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproved: Vec<StopItem>,
    /// If it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_restart: Option<LastRestart>,
}

/// What waits for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub count: u64,
    /// How long the oldest of them has waited.
    pub oldest_ms: u64,
}

impl Waiting {
    pub fn is_none(&self) -> bool {
        self.count == 0
    }

    /// For people; none if nothing waits.
    pub fn words(&self) -> Option<String> {
        let (count, seconds) = (self.count, self.oldest_ms / 1_000);
        let time =
            if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
        match count {
            0 => None,
            1 => Some(format!("a command waits to be allowed, since {time}")),
            _ => Some(format!("{count} commands wait to be allowed, the oldest since {time}")),
        }
    }
}

/// What the last start of a gateway has found and taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRestart {
    pub started_at: Timestamp,
    /// Gateways before it that were killed; none if the last one had ended in order.
    pub lost: Vec<String>,
    /// Runs that were at work, and what became of each.
    pub runs: Vec<InterruptedRun>,
    /// How many of them went on by themselves.
    pub continued: u64,
    /// How many were given up.
    pub given_up: u64,
    /// Model calls that were cut, and made again.
    pub calls_cut: u64,
    /// What those had cost, in tokens, as far as we know.
    pub tokens_cut: u64,
    /// Tool calls of which nobody knows whether they were carried out.
    pub unknown_calls: u64,
    /// What is left to a person, each with its command.
    pub waiting_for_person: Vec<LeftToPerson>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterruptedRun {
    pub run_id: RunId,
    pub session_key: SessionKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    pub continued: bool,
    /// What it does now, or how it has ended.
    pub stands: String,
    pub calls_cut: u64,
    pub tokens_cut: u64,
    pub unknown_calls: u64,
    /// Take-overs in a row, with this one.
    pub recoveries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftToPerson {
    pub session_key: SessionKey,
    pub what: String,
    /// The command that goes on with it.
    pub fix: String,
}

/// What all model calls have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    pub calls: u64,
    /// Calls that were cut, so that the numbers are ours and not the provider's.
    pub estimated_calls: u64,
    pub usage: Usage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    pub queued: u64,
    pub running: u64,
    /// For children, a reply or a person. Holds no slot.
    pub waiting: u64,
    /// Ended, and it was not looked yet whether anything of them is left.
    #[serde(default, skip_serializing_if = "none_of_it")]
    pub stopping: u64,
    /// Ended, and something of them is left.
    #[serde(default, skip_serializing_if = "none_of_it")]
    pub unproved: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn none_of_it(count: &u64) -> bool {
    *count == 0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    pub open: u64,
    pub ended: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    pub name: String,
    pub limit: u64,
    pub busy: u64,
    pub queued: u64,
    /// The sessions whose runs hold its slots.
    #[serde(default)]
    pub holders: Vec<SessionKey>,
}
