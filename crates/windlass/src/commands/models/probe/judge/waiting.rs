//! Does a model wait for its sub-agents, or does it ask after them again and again?

use serde_json::Value;
use types::ToolCall;

use super::{Found, Level, found};
use crate::commands::models::probe::scene::{Moment, Scene};

/// Looks at the state of things, which costs a model call each time and changes nothing.
fn is_poll(call: &ToolCall) -> bool {
    match call.name.as_str() {
        "sessions_list" | "sessions_history" | "session_status" | "sessions_search" => true,
        "subagents" => {
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
            let action = arguments["action"].as_str().unwrap_or("list");
            ["list", "info", "log"].contains(&action)
        }
        _ => false,
    }
}

/// How often it was looked after sub-agents that were at work.
pub(super) fn waits(scene: &Scene) -> Option<Found> {
    let (mut open, mut polls, mut yields, mut first) = (0_usize, 0, 0, None);
    for moment in &scene.moments {
        match moment {
            Moment::Result { name, is_error: false, .. } if name == "sessions_spawn" => open += 1,
            Moment::Report { .. } => open = open.saturating_sub(1),
            Moment::Said { calls, .. } if open > 0 => {
                polls += usize::from(calls.iter().any(is_poll));
                yields += usize::from(calls.iter().any(|call| call.name == "sessions_yield"));
                first = first.or_else(|| calls.iter().find(|call| is_poll(call)));
            }
            // A yield in the answer of its spawns.
            Moment::Said { calls, .. } => {
                yields += usize::from(calls.iter().any(|call| call.name == "sessions_yield"));
            }
            _ => {}
        }
    }
    if scene.started() == 0 {
        return None;
    }
    Some(match first {
        None if yields > 0 => found(Level::Good, "yielded until they had reported", ""),
        None => found(Level::Good, "ended its turn, and was woken by their reports", ""),
        Some(call) => {
            let did = format!("looked after them in {polls} answers while they were at work");
            found(Level::Weak, did, &format!("{} {}", call.name, call.arguments))
        }
    })
}
