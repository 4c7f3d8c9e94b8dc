//! Providers, models, their names and their keys.

use super::*;

/// A key is looked for under each of its names, and a local server wants none.
#[test]
fn a_preset_needs_a_variable_or_nothing() {
    let text = |model: &str| format!("{{ agents: {{ defaults: {{ model: '{model}' }} }} }}");
    let told = |model: &str| loaded(&text(model)).1;
    assert_eq!(told("anthropic/x"), "", "its key is set");
    assert_eq!(told("ollama/qwen3"), "");
    assert_eq!(told("llama-server/any"), "");
    assert_snapshot!(told("google/gemini-2.5-flash"), @"line 1, column 1: `models.providers.google.apiKey`: no key: set it, or the variable GEMINI_API_KEY or GOOGLE_API_KEY");
    for preset in presets::PRESETS.iter().filter(|preset| !preset.keys.is_empty()) {
        for name in preset.keys {
            let world = World { vars: [(*name, "sk")].into(), ..World::default() };
            let (config, _) = check(None, &paths(), &world).unwrap();
            let provider = &config.models.providers[preset.id];
            assert_eq!(provider.api_key.as_ref().unwrap().expose(), Ok("sk"), "{name}");
            assert!(!preset.lacks_key(provider));
        }
        assert!(preset.base_url.starts_with("http"), "{}", preset.id);
    }
}

/// Whoever has the same server elsewhere says only that.
#[test]
fn a_preset_is_changed_field_by_field() {
    let (config, _) = loaded(
        r#"{ models: { providers: {
  ollama: { baseUrl: "http://10.0.0.5:11434/v1" },
  anthropic: { api: "openai-completions", authHeader: true, apiKey: "sk-other" },
} } }"#,
    );
    let ollama = &config.models.providers["ollama"];
    assert_eq!(ollama.base_url, "http://10.0.0.5:11434/v1");
    assert_eq!(ollama.api.as_str(), "openai-completions");
    let anthropic = &config.models.providers["anthropic"];
    assert_eq!(anthropic.base_url, "https://api.anthropic.com");
    assert!(anthropic.auth_header && anthropic.api.as_str() == "openai-completions");
    assert_eq!(anthropic.api_key.as_ref().unwrap().expose(), Ok("sk-other"));
}

#[test]
fn an_alias_names_a_model_wherever_one_is_named() {
    let (config, warnings) = loaded(
        r#"{ agents: {
  defaults: {
    models: { "anthropic/claude-opus-4": { alias: "Opus" }, "ollama/qwen3:8b": { alias: "q" } },
    model: { primary: "opus", fallbacks: ["Q", "openai/x"] },
  },
  entries: { main: { models: { "ollama/tiny": { alias: "tiny" } }, subagents: { model: "tiny" } } },
}, models: { providers: { openai: { apiKey: "x" } } } }"#,
    );
    assert_eq!(warnings, "");
    let chosen = config.get("agents.entries.main.model").unwrap();
    let fallbacks = ["ollama/qwen3:8b", "openai/x"];
    assert_eq!(chosen, json!({ "primary": "anthropic/claude-opus-4", "fallbacks": fallbacks }));
    assert_eq!(
        config.get("agents.entries.main.subagents.model.primary"),
        Some(json!("ollama/tiny"))
    );
    let aliases = config.agents.aliases();
    assert_eq!(aliases.keys().collect::<Vec<_>>(), ["opus", "q", "tiny"]);
    assert_eq!(aliases["q"].to_string(), "ollama/qwen3:8b");
}

#[test]
fn a_name_that_means_no_model_gets_the_nearest_that_does() {
    assert_snapshot!(refused(r#"{ agents: { defaults: {
  models: { "anthropic/claude": { alias: "opus" }, "openai/x": { alias: "Opus" },
            "antropic/y": { alias: "default" }, plain: {} },
  model: { primary: "opsu", fallbacks: ["nothing", "grok/llama"] },
} } }"#), @r#"
    line 2, column 73: `agents.defaults.models.openai/x.alias`: `Opus` is the alias of `anthropic/claude` already
    line 3, column 27: `agents.defaults.models.antropic/y`: no provider `antropic` in `models.providers`; did you mean `anthropic`?
    line 3, column 36: `agents.defaults.models.antropic/y.alias`: expected an alias of letters, digits and `._:-`, and not `default`; got `default`
    line 3, column 56: `agents.defaults.models.plain`: expected `provider/model`, got `plain`
    line 4, column 21: `agents.defaults.model.primary`: expected `provider/model`, got `opsu`; did you mean the alias `opus`?
    line 4, column 40: `agents.defaults.model.fallbacks`: expected `provider/model`, got `nothing`
    line 4, column 40: `agents.defaults.model.fallbacks`: no provider `grok` in `models.providers`; did you mean `groq`?
    "#);
    let (_, told) = loaded(
        r#"{ agents: { defaults: { model: "stub/sonet" } }, models: { providers: {
  stub: { baseUrl: "http://h", api: "openai", models: [{ id: "sonnet" }] },
} } }"#,
    );
    assert_snapshot!(told, @"line 1, column 32: `agents.defaults.model`: no model `sonet` in `models.providers.stub.models`; did you mean `sonnet`? It is asked for as it is written");
}

/// A command is run by who needs the key, not by who reads the file.
#[test]
fn a_key_may_be_told_by_a_command() {
    let text = |command: &str| {
        format!(
            r#"{{ agents: {{ defaults: {{ model: "anthropic/x" }} }}, models: {{ providers: {{
  anthropic: {{ apiKey: {{ source: "exec", {command} }} }} }} }} }}"#
        )
    };
    let (config, warnings) = loaded(&text(r#"command: ["sh", "-c", "echo t0ld"]"#));
    assert_eq!(warnings, "");
    let key = config.models.providers["anthropic"].api_key.clone().unwrap();
    assert_eq!(key.expose(), Ok("t0ld"));
    assert!(!format!("{key:?} {}", config.get("").unwrap()).contains("t0ld"));

    let (config, _) = loaded(&text(r#"command: ["false"], timeoutSeconds: 5"#));
    let untold = config.models.providers["anthropic"].api_key.as_ref().unwrap().expose();
    assert!(untold.unwrap_err().to_string().contains("`false` of this secret has failed"));

    let wrong =
        ["command: []", "timeoutSeconds: 5", r#"command: "pass""#].map(|c| refused(&text(c)));
    assert_snapshot!(wrong.join("\n"), @r#"
    line 2, column 51: `models.providers.anthropic.apiKey.command`: expected a program and its arguments
    line 2, column 24: `models.providers.anthropic.apiKey`: `command` is missing: expected a list, as in ["pass", "show", "key"] (`secrets.providers` is not supported yet)
    line 2, column 51: `models.providers.anthropic.apiKey.command`: expected a list of strings, got the string "pass"
    "#);
}

/// Several accounts of one provider: each with a key of its own, and an order.
#[test]
fn a_provider_may_have_several_accounts() {
    let (config, warnings) = loaded(
        r#"{
  agents: { defaults: { model: "openai/x" } },
  auth: {
    profiles: {
      "openai:work": { provider: "openai", mode: "api_key", apiKey: "sk-work" },
      "openai:me@example.com": { apiKey: "${STUB_KEY}", email: "me@example.com" },
      other: { provider: "anthropic", apiKey: "sk-other" },
    },
    order: { openai: ["openai:me@example.com", "work"] },
  },
}"#,
    );
    assert_eq!(warnings, "");
    let openai = &config.models.providers["openai"];
    assert_eq!(openai.order, ["me@example.com", "work"]);
    assert_eq!(openai.accounts["work"].expose(), Ok("sk-work"));
    let anthropic = &config.models.providers["anthropic"];
    assert_eq!(anthropic.order, ["other", "default"], "its own key comes last");
    assert!(!config.get("").unwrap().to_string().contains("sk-"));

    assert_snapshot!(refused(r#"{ auth: {
  profiles: { "x:a": { apiKey: "k" }, "openai:b": {}, "openai:c": { mode: "oauth", apiKey: "k" },
              "openai:default": { apiKey: "k" }, nobody: { apiKey: "k" } },
  order: { openai: ["d"], opnai: ["c"] },
} }"#), @r#"
    line 2, column 22: `auth.profiles["x:a"]`: no provider `x` in `models.providers`
    line 2, column 51: `auth.profiles["openai:b"]`: `apiKey` is missing: expected a secret, as in `models.providers`
    line 2, column 75: `auth.profiles["openai:c"].mode`: `oauth` is not supported yet; expected `api_key`
    line 3, column 33: `auth.profiles["openai:default"]`: expected the name of an account of letters, digits and `._-+@`, and not `default`; got `default`
    line 3, column 58: `auth.profiles.nobody`: `provider` is missing: expected the id of a provider
    line 4, column 20: `auth.order.openai`: no profile `d` of `openai` in `auth.profiles`; did you mean `c`?
    line 4, column 34: `auth.order.opnai`: no provider `opnai` in `models.providers`
    "#);
}

#[test]
fn levels_of_thinking() {
    let (config, _) = loaded(
        r#"{ agents: {
  defaults: { thinkingDefault: "low", subagents: { thinking: "off" },
              models: { "anthropic/x": { params: { thinking: "max" } } } },
  entries: { main: { thinkingDefault: "high" }, ops: {} },
}, models: { providers: { stub: { baseUrl: "http://h", api: "openai",
  models: [{ id: "m", reasoning: true }] } } } }"#,
    );
    for (path, level) in [
        ("agents.defaults.thinkingDefault", json!("low")),
        ("agents.entries.main.thinkingDefault", json!("high")),
        ("agents.entries.ops.thinkingDefault", json!(null)),
        ("agents.entries.ops.subagents.thinking", json!("off")),
        ("models.providers.stub.models[0].reasoning", json!(true)),
    ] {
        assert_eq!(config.get(path), Some(level), "{path}");
    }
    assert_snapshot!(refused(r#"{ agents: { defaults: { thinkingDefault: "ultra" } } }"#), @"line 1, column 42: `agents.defaults.thinkingDefault`: `ultra` is not supported yet; expected one of `off`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`");
}

/// What all wires have reaches a model; the rest is named, with its place, and has no effect.
#[test]
fn the_params_of_a_model() {
    let text = r#"{ agents: {
        defaults: { models: { "openai/gpt-4o": {
            params: { temperature: 0.2, topP: 1, maxTokens: 900, thinking: "low",
                      top_p: 0.5, cacheRetention: "long" } } } },
        entries: { main: { models: { "openai/gpt-4o": { params: { temperature: 3 } } } } } } }"#;
    let problems = refused(text);
    let path = "agents.entries.main.models.openai/gpt-4o.params.temperature";
    assert!(problems.contains(path) && problems.contains("from 0 to 2"), "{problems}");
    let (config, doubted) = loaded(&text.replace("temperature: 3", "temperature: 1.5"));
    let model: ModelRef = "openai/gpt-4o".parse().unwrap();
    let all = config.agents.defaults.models[&model].params;
    assert_eq!((all.temperature, all.top_p, all.max_tokens), (Some(0.2), Some(1.0), Some(900)));
    assert_eq!(all.thinking, Some(types::Thinking::Low));
    let own = config.agents.entries[&AgentId::main()].models[&model].params;
    assert_eq!((own.temperature, own.top_p), (Some(1.5), None));
    for (key, hint) in [("top_p", "did you mean `topP`?"), ("cacheRetention", "has no effect")] {
        let path = format!("agents.defaults.models.openai/gpt-4o.params.{key}");
        assert!(doubted.contains(&path) && doubted.contains(hint), "{doubted}");
    }
}
