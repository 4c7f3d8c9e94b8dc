//! A file that says nearly everything, key by key.

use super::*;

/// The agents of a file, and all else, a line for each key.
fn halves(text: &str) -> (String, String) {
    let (config, warnings) = loaded(text);
    assert_eq!(warnings, "");
    let text = outline("", &config.get("").unwrap());
    // Of the presets one is enough: they are a table.
    let shown = |line: &&str| {
        let provider = line.strip_prefix("models.providers.");
        provider.is_none_or(|p| p.starts_with("anthropic.") || p.starts_with("stub."))
    };
    let (agents, others): (Vec<&str>, Vec<&str>) =
        text.lines().filter(shown).partition(|line| line.starts_with("agents."));
    // Those of the tools are told apart.
    let others = others.into_iter().filter(|line| !line.starts_with("tools."));
    let others: Vec<&str> = others.collect();
    (agents.join("\n"), others.join("\n"))
}

/// The lines of [`halves`] about one agent, or about all others.
fn agents(one: &str, wanted: bool) -> String {
    let agents = halves(FULL).0;
    let own = format!("agents.entries.{one}.");
    let lines = agents.lines().filter(|line| line.starts_with(&own) == wanted);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_agents_of_a_full_file() {
    let (config, _) = loaded(FULL);
    assert_eq!(config.agents.default_id().as_str(), "ops");
    assert_snapshot!(agents("ops", false), @r#"
    agents.defaults.model {"primary":"stub/m","fallbacks":["anthropic/claude"]}
    agents.defaults.models {}
    agents.defaults.thinkingDefault null
    agents.defaults.workspace "/home/anna/.windlass/workspace"
    agents.defaults.skipBootstrap false
    agents.defaults.bootstrapMaxChars 20000
    agents.defaults.bootstrapTotalMaxChars 60000
    agents.defaults.skills null
    agents.defaults.maxConcurrent 2
    agents.defaults.timeoutSeconds 172800
    agents.defaults.budget {}
    agents.defaults.compaction {"enabled":true,"softRatio":0.8,"keepRecentTokens":20000,"memoryFlush":{"enabled":true}}
    agents.defaults.subagents.maxConcurrent 8
    agents.defaults.subagents.maxSpawnDepth 3
    agents.defaults.subagents.maxChildrenPerAgent 5
    agents.defaults.subagents.maxTasksPerTree 200
    agents.defaults.subagents.runTimeoutSeconds 0
    agents.defaults.subagents.model {"primary":"stub/small","fallbacks":[]}
    agents.defaults.subagents.thinking null
    agents.defaults.subagents.allowAgents ["*"]
    agents.defaults.subagents.requireAgentId false
    agents.defaults.subagents.budget {}
    agents.defaults.subagents.reuse "never"
    agents.defaults.subagents.reuseKey null
    agents.defaults.subagents.allowReuseMain false
    agents.defaults.subagents.archiveAfterMinutes 60
    agents.entries.main.default false
    agents.entries.main.name "Anna's own"
    agents.entries.main.description null
    agents.entries.main.model {"primary":"stub/m","fallbacks":["anthropic/claude"]}
    agents.entries.main.models {}
    agents.entries.main.thinkingDefault null
    agents.entries.main.workspace "/home/anna/.windlass/workspace-main"
    agents.entries.main.bootstrapMaxChars 20000
    agents.entries.main.bootstrapTotalMaxChars 60000
    agents.entries.main.skills null
    agents.entries.main.budget {}
    agents.entries.main.subagents.model {"primary":"stub/small","fallbacks":[]}
    agents.entries.main.subagents.thinking null
    agents.entries.main.subagents.allowAgents ["*"]
    agents.entries.main.subagents.requireAgentId false
    agents.entries.main.subagents.budget {}
    agents.entries.main.subagents.reuse "never"
    agents.entries.main.subagents.reuseKey null
    agents.entries.main.subagents.allowReuseMain false
    agents.entries.main.subagents.archiveAfterMinutes 60
    agents.entries.main.subagents.delegateTools {}
    agents.entries.main.tools.profile null
    agents.entries.main.tools.allow null
    agents.entries.main.tools.alsoAllow []
    agents.entries.main.tools.deny []
    agents.entries.main.tools.loopDetection {"enabled":null,"maxRepeats":null}
    agents.entries.main.tools.exec {"sandbox":null}
    "#);
}

#[test]
fn an_agent_of_a_full_file() {
    assert_snapshot!(agents("ops", true), @r#"
    agents.entries.ops.default true
    agents.entries.ops.name null
    agents.entries.ops.description null
    agents.entries.ops.model {"primary":"anthropic/claude","fallbacks":[]}
    agents.entries.ops.models {}
    agents.entries.ops.thinkingDefault null
    agents.entries.ops.workspace "/home/anna/ops"
    agents.entries.ops.bootstrapMaxChars 20000
    agents.entries.ops.bootstrapTotalMaxChars 60000
    agents.entries.ops.skills null
    agents.entries.ops.budget {}
    agents.entries.ops.subagents.model {"primary":"stub/small","fallbacks":[]}
    agents.entries.ops.subagents.thinking null
    agents.entries.ops.subagents.allowAgents ["main"]
    agents.entries.ops.subagents.requireAgentId false
    agents.entries.ops.subagents.budget {}
    agents.entries.ops.subagents.reuse "never"
    agents.entries.ops.subagents.reuseKey null
    agents.entries.ops.subagents.allowReuseMain false
    agents.entries.ops.subagents.archiveAfterMinutes 60
    agents.entries.ops.subagents.delegateTools {}
    agents.entries.ops.tools.profile null
    agents.entries.ops.tools.allow null
    agents.entries.ops.tools.alsoAllow []
    agents.entries.ops.tools.deny ["exec"]
    agents.entries.ops.tools.loopDetection {"enabled":null,"maxRepeats":null}
    agents.entries.ops.tools.exec {"sandbox":null}
    "#);
}

#[test]
fn a_full_file() {
    assert_snapshot!(halves(FULL).1, @r#"
    gateway.port 8080
    gateway.mode "local"
    gateway.bind "loopback"
    gateway.customBindHost null
    gateway.auth {"mode":"token","token":"[redacted]"}
    gateway.remote {"url":null,"token":null}
    gateway.controlUi {"allowedOrigins":[]}
    gateway.http {"endpoints":{"chatCompletions":{"enabled":false}}}
    gateway.reload {"mode":"hybrid"}
    models.providers.anthropic.baseUrl "https://api.anthropic.com"
    models.providers.anthropic.apiKey "[redacted]"
    models.providers.anthropic.api "anthropic-messages"
    models.providers.anthropic.authHeader false
    models.providers.anthropic.models []
    models.providers.anthropic.headers {}
    models.providers.anthropic.timeoutSeconds null
    models.providers.anthropic.limits {"rpm":null,"tpm":null,"concurrent":null}
    models.providers.stub.baseUrl "http://127.0.0.1:9/v1"
    models.providers.stub.apiKey "[redacted]"
    models.providers.stub.api "openai-completions"
    models.providers.stub.authHeader false
    models.providers.stub.models [{"id":"m","name":null,"reasoning":null,"contextWindow":100000,"maxTokens":4096,"cost":null}]
    models.providers.stub.headers {"x-team":"[redacted]"}
    models.providers.stub.timeoutSeconds null
    models.providers.stub.limits {"rpm":null,"tpm":null,"concurrent":null}
    session {"scope":"per-sender","agentToAgent":{"maxPingPongTurns":5}}
    messages {"queue":{"mode":"collect","debounceMs":0,"cap":20,"drop":"summarize"}}
    mcp {"sessionIdleTtlMs":600000,"servers":{}}
    skills.allowBundled null
    skills.load {"extraDirs":[]}
    skills.limits {"maxSkillsInPrompt":50,"maxSkillsPromptChars":4000,"maxSkillFileBytes":262144}
    skills.entries {}
    budget {"day":{},"agent":{},"tree":{}}
    logging {"level":"debug"}
    "#);
}
