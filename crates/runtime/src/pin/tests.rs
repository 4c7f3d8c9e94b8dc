//! What a prefix costs, and what it says: any change to it is paid for by everybody, once.

use insta::assert_snapshot;
use tempfile::TempDir;
use tools::Toolbox;

use super::*;
use crate::config::Agent;

/// The most that a sub-agent, and an agent's own conversation, may begin with: all built-in tools,
/// our words, and the files of a new workspace.
const CHILD_TOKENS_MAX: u64 = 3_000;
const MAIN_TOKENS_MAX: u64 = 5_000;

/// All tools that there are without configuration.
fn every_tool() -> Vec<ToolSpec> {
    let mut tools = tools::sessions::specs().to_vec();
    tools.extend(Toolbox::builtin(&tools::Config::default()).specs());
    tools
}

/// The prefix of an agent with a new workspace. A sub-agent has no person to write to.
fn rendered(role: Role) -> (TempDir, Stored) {
    let mut tools = every_tool();
    tools.retain(|tool| role == Role::Main || tool.name != "message");
    let home = TempDir::new().unwrap();
    let agent = Agent::at(home.path().join("workspace"));
    let skills = Skills::default();
    let stored = stored(&AgentId::main(), role, Some(&agent), &skills, tools);
    (home, stored)
}

/// The same bytes on every machine.
fn words(role: Role) -> String {
    let (home, stored) = rendered(role);
    stored.prefix.system.replace(&home.path().display().to_string(), "~")
}

#[test]
fn a_prefix_is_small() {
    for (role, max) in [
        (Role::Main, MAIN_TOKENS_MAX),
        (Role::Orchestrator, CHILD_TOKENS_MAX),
        (Role::Leaf, CHILD_TOKENS_MAX),
    ] {
        let (_home, stored) = rendered(role);
        let tokens = stored.tokens();
        let tools = stored.prefix.tools.iter();
        let of_tools: Vec<String> =
            tools.map(|tool| format!("{} {}", tool.name, tool_tokens(tool))).collect();
        let parts: Vec<String> =
            stored.parts.iter().map(|part| format!("{} {}", part.name, part.tokens)).collect();
        assert!(
            tokens <= max,
            "a prefix of role {role} has {tokens} tokens; at most {max}: own words {}, {}, {}",
            stored.own_tokens(),
            parts.join(", "),
            of_tools.join(", ")
        );
    }
}

#[test]
fn a_prefix_depends_on_nothing_else() {
    let (home, first) = rendered(Role::Main);
    let agent = Agent::at(home.path().join("workspace"));
    let skills = Skills::default();
    let again = stored(&AgentId::main(), Role::Main, Some(&agent), &skills, every_tool());
    assert_eq!(first, again);
    assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&again).unwrap());
    assert_eq!(words(Role::Main), words(Role::Main), "another folder, the same words");
}

#[test]
fn what_an_agent_is_told() {
    assert_snapshot!("prompt_main", words(Role::Main));
    assert_snapshot!("prompt_child", words(Role::Orchestrator));
}

#[test]
fn what_the_tools_say() {
    let lines = every_tool().into_iter().map(|tool| {
        let ToolSpec { name, description, input_schema } = tool;
        format!("{name}: {description}\n    {input_schema}")
    });
    assert_snapshot!("tools", lines.collect::<Vec<_>>().join("\n"));
}
