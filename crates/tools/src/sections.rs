//! The groups of tools that a policy can name as a whole: OpenClaw's, as far as their tools exist.

/// Returns the groups of a tool, without the `group:` that stands before them in a policy.
pub fn of(tool: &str) -> &'static [&'static str] {
    match tool {
        "read" | "search" | "write" | "edit" | "apply_patch" => &["fs"],
        "exec" | "process" => &["runtime"],
        "web_search" | "web_fetch" => &["web"],
        "memory_search" | "memory_get" => &["memory"],
        "message" => &["messaging"],
        "automations" | "gateway" | "heartbeat_respond" => &["automation"],
        "progress_card" => &["ui", "sessions"],
        "agents_list" => &["agents"],
        "subagents" | "flows" | "session_status" | "result_read" => &["sessions"],
        tool if tool.starts_with("sessions_") => &["sessions"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Toolbox, sessions};

    #[test]
    fn every_tool_is_in_a_group() {
        let toolbox = Toolbox::builtin(&Config::default());
        for spec in toolbox.specs().iter().chain(sessions::specs()) {
            assert!(!of(&spec.name).is_empty(), "{} is in no group", spec.name);
        }
        assert_eq!(of("exec"), ["runtime"]);
        assert_eq!(of("no_such_tool"), [""; 0]);
    }
}
