//! Messages between agents: `tools.agentToAgent`, `tools.sessions`, `session.agentToAgent`.

use machine::limits::Visibility;
use serde::Serialize;

use super::agents::{AllowAgents, agent_list};
use super::section::Section;

/// `tools.agentToAgent`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentToAgent {
    /// May sessions of different agents write to each other?
    pub enabled: bool,
    /// Which agents may; sender and receiver must both be named. Everyone if none is.
    pub allow: AllowAgents,
}

impl AgentToAgent {
    pub(super) fn read(s: &mut Section<'_>) -> AgentToAgent {
        let allow = match agent_list(s, "allow") {
            Some(AllowAgents::Listed(agents)) if !agents.is_empty() => AllowAgents::Listed(agents),
            _ => AllowAgents::Any,
        };
        AgentToAgent { enabled: s.flag("enabled").unwrap_or(true), allow }
    }
}

/// `tools.sessions`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionTools {
    /// Which sessions of its owner an agent may see and write to.
    pub visibility: Visibility,
}

impl SessionTools {
    pub(super) fn read(s: &mut Section<'_>) -> SessionTools {
        let visibility = s.word("visibility", Visibility::ALL, &[]);
        SessionTools { visibility: visibility.unwrap_or(Visibility::All) }
    }
}

/// `session.agentToAgent`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// Messages of a chain in which each was caused by the one before.
    pub max_ping_pong_turns: u32,
}

/// A chain of a thousand messages is no conversation any more.
const TURNS_MAX: u32 = 1_000;

impl Exchange {
    pub(super) fn read(s: &mut Section<'_>) -> Exchange {
        Exchange { max_ping_pong_turns: s.count("maxPingPongTurns", 0..=TURNS_MAX).unwrap_or(5) }
    }
}
