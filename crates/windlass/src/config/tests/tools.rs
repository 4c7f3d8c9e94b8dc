//! What is said of tools, key by key.

use super::*;

#[test]
fn every_default_of_tools() {
    assert_snapshot!(defaults(|line| line.starts_with("tools.")), @r#"
    tools.exec.timeoutSeconds 1800
    tools.exec.backgroundMs 10000
    tools.exec.cleanupMs 1800000
    tools.exec.sandbox "off"
    tools.exec.sandboxBackend "auto"
    tools.exec.sandboxRead []
    tools.exec.applyPatch {"enabled":true}
    tools.profile null
    tools.allow null
    tools.alsoAllow []
    tools.deny []
    tools.subagents {"tools":{"allow":null,"alsoAllow":[],"deny":[]}}
    tools.loopDetection {"enabled":true,"maxRepeats":3}
    tools.agentToAgent {"enabled":true,"allow":["*"]}
    tools.sessions {"visibility":"all"}
    tools.web.fetch.enabled true
    tools.web.fetch.maxChars 50000
    tools.web.fetch.maxCharsCap 50000
    tools.web.fetch.maxResponseBytes 2000000
    tools.web.fetch.timeoutSeconds 30
    tools.web.fetch.maxRedirects 3
    tools.web.fetch.userAgent null
    tools.web.fetch.readability true
    tools.web.fetch.ssrfPolicy.dangerouslyAllowPrivateNetwork false
    tools.web.fetch.ssrfPolicy.allowRfc2544BenchmarkRange false
    tools.web.fetch.ssrfPolicy.allowIpv6UniqueLocalRange false
    tools.web.fetch.ssrfPolicy.allowedHostnames []
    tools.web.fetch.ssrfPolicy.blockedHostnames []
    "#);
}

#[test]
fn the_tools_of_a_full_file() {
    let (config, _) = loaded(FULL);
    let text = outline("", &config.get("").unwrap());
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("tools.")).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    tools.exec.timeoutSeconds 60
    tools.exec.backgroundMs 10000
    tools.exec.cleanupMs 1800000
    tools.exec.sandbox "off"
    tools.exec.sandboxBackend "auto"
    tools.exec.sandboxRead []
    tools.exec.applyPatch {"enabled":true}
    tools.profile null
    tools.allow ["read"]
    tools.alsoAllow []
    tools.deny []
    tools.subagents {"tools":{"allow":null,"alsoAllow":[],"deny":[]}}
    tools.loopDetection {"enabled":true,"maxRepeats":3}
    tools.agentToAgent {"enabled":true,"allow":["*"]}
    tools.sessions {"visibility":"all"}
    tools.web.fetch.enabled true
    tools.web.fetch.maxChars 50000
    tools.web.fetch.maxCharsCap 50000
    tools.web.fetch.maxResponseBytes 2000000
    tools.web.fetch.timeoutSeconds 30
    tools.web.fetch.maxRedirects 3
    tools.web.fetch.userAgent null
    tools.web.fetch.readability true
    tools.web.fetch.ssrfPolicy.dangerouslyAllowPrivateNetwork false
    tools.web.fetch.ssrfPolicy.allowRfc2544BenchmarkRange false
    tools.web.fetch.ssrfPolicy.allowIpv6UniqueLocalRange false
    tools.web.fetch.ssrfPolicy.allowedHostnames []
    tools.web.fetch.ssrfPolicy.blockedHostnames []
    "#);
}

/// A word that is none is refused with those that there are, for all agents and for one.
#[test]
fn a_sandbox_is_one_of_three() {
    let text = r#"{ tools: { exec: { sandbox: "on", sandboxRead: ["~/.cargo"] } },
        agents: { entries: { main: { tools: { exec: { sandbox: 1 } } } } } }"#;
    let problems = refused(text);
    let expected = "expected one of `off`, `workspace`, `strict`";
    assert_eq!(problems.matches(expected).count(), 2, "{problems}");
    assert!(problems.contains("`agents.entries.main.tools.exec.sandbox`"), "{problems}");
}

/// Rules for a provider that is not there take nothing away, which is worth a word.
#[test]
fn rules_for_providers_are_read_and_doubted() {
    let text = r#"{ tools: { byProvider: {
            openai: { profile: "minimal", alsoAllow: ["read"] },
            "Anthropic/claude-opus-4-5": { deny: ["exec"] },
            opneai: { deny: ["exec"] },
        } },
        agents: { entries: { main: { tools: { byProvider: { groq: { allow: [] } } } } } } }"#;
    let (config, doubted) = loaded(text);
    let rules = &config.tools.by_provider;
    assert_eq!(rules["openai"].profile, Some(Profile::Minimal));
    assert_eq!(rules["anthropic/claude-opus-4-5"].lists.deny, ["exec"]);
    let main = &config.agents.entries[&AgentId::main()];
    assert_eq!(main.tools.by_provider["groq"].lists.allow, Some(Vec::new()));
    assert!(doubted.contains("no provider `opneai`"), "{doubted}");
    assert!(doubted.contains("did you mean `openai`?"), "{doubted}");
    assert!(!doubted.contains("groq"), "{doubted}");
    let twice = r#"{ tools: { byProvider: { a: { deny: [] }, A: { deny: [] } } } }"#;
    assert!(refused(twice).contains("`A` is there twice"), "{}", refused(twice));
}
