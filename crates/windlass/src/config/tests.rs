//! Whole files, and exactly what a person is told about them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;

mod bootstrap;
mod full;
mod mcp;
mod models;
mod roster;
mod skills;
mod tools;
mod warm;

/// An environment and files that a test writes down.
#[derive(Default)]
struct World {
    vars: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl Outside for World {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|&value| value.to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = path.to_str().and_then(|path| self.files.get(path));
        text.map(|&text| text.to_owned()).ok_or(io::ErrorKind::NotFound.into())
    }
}

fn world() -> World {
    World {
        vars: [("ANTHROPIC_API_KEY", "sk-ant"), ("STUB_KEY", "s3cret"), ("PORT_LIKE", "x")].into(),
        files: [("/home/anna/key.txt", " filed \n"), ("/etc/empty", "\n")].into(),
    }
}

fn paths() -> Paths {
    Paths::of(&World::default(), Some(PathBuf::from("/home/anna"))).unwrap()
}

pub(super) fn loaded(text: &str) -> (Config, String) {
    match check(Some(text), &paths(), &world()) {
        Ok((config, warnings)) => (config, lines(&warnings)),
        Err(problems) => panic!("refused:\n{}", lines(&problems)),
    }
}

fn refused(text: &str) -> String {
    lines(&check(Some(text), &paths(), &world()).expect_err("must be refused"))
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// Prints a value a line, and what is short on one line.
fn outline(path: &str, value: &Value) -> String {
    let text = value.to_string();
    match value {
        Value::Object(map) if text.len() > 93 => {
            let lines: Vec<String> =
                map.iter().map(|(key, value)| outline(&format!("{path}.{key}"), value)).collect();
            lines.join("\n")
        }
        _ => format!("{} {text}", path.trim_start_matches('.')),
    }
}

/// All that JSON5 adds to JSON, and most keys that are served.
const FULL: &str = r#"// a comment
{
    $schema: 'https://example.org/schema',
    gateway: {
        port: 0x1F90, /* 8080 */
        bind: 'loopback',
        auth: { mode: "token", token: "${STUB_KEY}" },
    },
    "agents": {
        defaults: {
            model: { primary: 'stub/m', fallbacks: ["anthropic/claude"] },
            maxConcurrent: +2,
            subagents: { maxSpawnDepth: 3, allowAgents: ['*'], model: "stub/small" },
        },
        entries: {
            main: { name: "Anna\
's own" },
            Ops: { default: true, model: "anthropic/claude", workspace: "~/ops",
                   subagents: { allowAgents: ["main"] }, tools: { deny: ["exec"] } },
        },
    },
    models: { providers: {
        stub: {
            baseUrl: "http://127.0.0.1:9/v1", api: "openai-completions",
            apiKey: { source: "file", path: "~/key.txt" },
            headers: { "x-team": "\u0061bc" },
            models: [{ id: "m", contextWindow: 1e5, maxTokens: 4096. }],
        },
    } },
    messages: { queue: { mode: 'collect', debounceMs: 0 } },
    tools: { exec: { timeoutSeconds: 60 }, allow: ["read"] },
    logging: { level: "debug" },
}
"#;

#[test]
fn a_secret_is_there_and_is_never_shown() {
    let (config, _) = loaded(FULL);
    let stub = &config.models.providers["stub"];
    assert_eq!(stub.api_key.as_ref().unwrap().expose(), Ok("filed"));
    assert_eq!(stub.headers["x-team"].expose(), Ok("abc"));
    assert_eq!(config.gateway.auth.token.as_ref().unwrap().expose(), Ok("s3cret"));
    assert_eq!(
        config.models.providers["anthropic"].api_key.as_ref().unwrap().expose(),
        Ok("sk-ant")
    );
    let shown = format!("{config:?} {}", config.get("").unwrap());
    for secret in ["filed", "s3cret", "sk-ant", "abc"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[test]
fn without_a_file_every_default_stands() {
    let loaded = load_in(&paths(), &world()).unwrap();
    assert_eq!(loaded.path, None);
    assert_eq!(lines(&loaded.warnings), "", "a key is enough to begin");
    let keyless = load_in(&paths(), &World::default()).unwrap();
    assert_snapshot!(
        lines(&keyless.warnings),
        @"`agents.defaults.model`: no model is chosen, and no provider has a key: set it to `provider/model`"
    );
}

/// The keys below `section`, or all others.
fn defaults(wanted: impl Fn(&str) -> bool) -> String {
    let loaded = load_in(&paths(), &world()).unwrap();
    let outline = outline("", &loaded.config.get("").unwrap());
    let lines = outline.lines().filter(|line| wanted(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_default_of_a_provider() {
    let some = |line: &str| {
        line.starts_with("models.providers.anthropic")
            || line.starts_with("models.providers.google")
    };
    assert_snapshot!(defaults(some), @r#"
    models.providers.anthropic.baseUrl "https://api.anthropic.com"
    models.providers.anthropic.apiKey "[redacted]"
    models.providers.anthropic.api "anthropic-messages"
    models.providers.anthropic.authHeader false
    models.providers.anthropic.models []
    models.providers.anthropic.headers {}
    models.providers.anthropic.timeoutSeconds null
    models.providers.anthropic.limits {"rpm":null,"tpm":null,"concurrent":null}
    models.providers.google.baseUrl "https://generativelanguage.googleapis.com"
    models.providers.google.apiKey null
    models.providers.google.api "google-generative-ai"
    models.providers.google.authHeader false
    models.providers.google.models []
    models.providers.google.headers {}
    models.providers.google.timeoutSeconds null
    models.providers.google.limits {"rpm":null,"tpm":null,"concurrent":null}
    "#);
}

#[test]
fn every_default_of_the_gateway() {
    assert_snapshot!(defaults(|line| section_of(line) == "gateway"), @r#"
    gateway.port 18789
    gateway.mode "local"
    gateway.bind "loopback"
    gateway.customBindHost null
    gateway.auth {"mode":"token","token":null}
    gateway.remote {"url":null,"token":null}
    gateway.controlUi {"allowedOrigins":[]}
    gateway.http {"endpoints":{"chatCompletions":{"enabled":false}}}
    gateway.reload {"mode":"hybrid"}
    "#);
}

fn section_of(line: &str) -> &str {
    line.split(['.', ' ']).next().unwrap_or(line)
}

#[test]
fn every_other_default() {
    let other = |line: &str| !["gateway", "models", "tools", "skills"].contains(&section_of(line));
    assert_snapshot!(defaults(other), @r#"
    agents.defaults.model null
    agents.defaults.models {}
    agents.defaults.thinkingDefault null
    agents.defaults.workspace "/home/anna/.windlass/workspace"
    agents.defaults.skipBootstrap false
    agents.defaults.bootstrapMaxChars 20000
    agents.defaults.bootstrapTotalMaxChars 60000
    agents.defaults.skills null
    agents.defaults.maxConcurrent 4
    agents.defaults.timeoutSeconds 172800
    agents.defaults.budget {}
    agents.defaults.compaction {"enabled":true,"softRatio":0.8,"keepRecentTokens":20000,"memoryFlush":{"enabled":true}}
    agents.defaults.subagents.maxConcurrent 8
    agents.defaults.subagents.maxSpawnDepth 5
    agents.defaults.subagents.maxChildrenPerAgent 5
    agents.defaults.subagents.maxTasksPerTree 200
    agents.defaults.subagents.runTimeoutSeconds 0
    agents.defaults.subagents.model null
    agents.defaults.subagents.thinking null
    agents.defaults.subagents.allowAgents []
    agents.defaults.subagents.requireAgentId false
    agents.defaults.subagents.budget {}
    agents.defaults.subagents.reuse "never"
    agents.defaults.subagents.reuseKey null
    agents.defaults.subagents.allowReuseMain false
    agents.defaults.subagents.archiveAfterMinutes 60
    agents.entries.main.default true
    agents.entries.main.name null
    agents.entries.main.description null
    agents.entries.main.model null
    agents.entries.main.models {}
    agents.entries.main.thinkingDefault null
    agents.entries.main.workspace "/home/anna/.windlass/workspace"
    agents.entries.main.bootstrapMaxChars 20000
    agents.entries.main.bootstrapTotalMaxChars 60000
    agents.entries.main.skills null
    agents.entries.main.budget {}
    agents.entries.main.subagents.model null
    agents.entries.main.subagents.thinking null
    agents.entries.main.subagents.allowAgents []
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
    session {"scope":"per-sender","agentToAgent":{"maxPingPongTurns":5}}
    messages {"queue":{"mode":"steer","debounceMs":500,"cap":20,"drop":"summarize"}}
    mcp {"sessionIdleTtlMs":600000,"servers":{}}
    budget {"day":{},"agent":{},"tree":{}}
    logging {"level":"info"}
    "#);
}

#[test]
fn one_value_by_its_path() {
    let (config, _) = loaded(FULL);
    for (path, value) in [
        ("gateway.port", Some(json!(8080))),
        ("gateway.auth.token", Some(json!("[redacted]"))),
        ("agents.entries.main.model.fallbacks[0]", Some(json!("anthropic/claude"))),
        ("models.providers[\"stub\"].models.0.maxTokens", Some(json!(4096))),
        ("agents.defaults.subagents.maxTasksPerTree", Some(json!(200))),
        ("gateway.nope", None),
        ("gateway..port", None),
        ("agents.entries[", None),
    ] {
        assert_eq!(config.get(path), value, "{path}");
    }
}

#[test]
fn all_errors_at_once_with_their_places() {
    assert_snapshot!(refused(r#"{
  gatway: { port: 1 },
  gateway: { prot: 1, port: 70000, bind: 'tailnet', auth: { mode: "pasword", token: 7 } },
  agents: {
    defaults: { maxConcurrent: "4", subagents: { maxSpawnDepth: 11, maxSpawnDeph: 2 } },
    entries: { "-x": {}, main: { model: "opus" }, ops: 7 },
  },
  maxSpawnDepth: 3,
  session: { idleMinutes: 5, scope: "global" },
  messages: { queue: { mode: "shout", cap: 0, drop: true } },
  tools: { exec: [], allow: "all", deny: [1] },
  logging: { level: "loud" },
  $include: "./more.json",
  xyzzy: null,
}"#), @r#"
    line 2, column 3: `gatway`: unknown key; did you mean `gateway`?
    line 3, column 14: `gateway.prot`: unknown key; did you mean `gateway.port`?
    line 3, column 29: `gateway.port`: expected a whole number from 1 to 65535, got 70000
    line 3, column 42: `gateway.bind`: `tailnet` is not supported yet; expected one of `loopback`, `lan`, `custom`
    line 3, column 67: `gateway.auth.mode`: expected one of `token`, `none`, got `pasword`
    line 3, column 85: `gateway.auth.token`: expected a string, or `{source: "env", id: "NAME"}`, got a number
    line 5, column 32: `agents.defaults.maxConcurrent`: expected a whole number from 1 to 1000, got the string "4"
    line 5, column 65: `agents.defaults.subagents.maxSpawnDepth`: expected a whole number from 1 to 10, got 11
    line 5, column 69: `agents.defaults.subagents.maxSpawnDeph`: unknown key; did you mean `agents.defaults.subagents.maxSpawnDepth`?
    line 6, column 22: `agents.entries.-x`: expected an agent id: a letter or digit, then up to 63 of `a-z 0-9 _ -`; got `-x`
    line 6, column 41: `agents.entries.main.model`: expected `provider/model`, got `opus`
    line 6, column 56: `agents.entries.ops`: expected an object, got 7
    line 8, column 3: `maxSpawnDepth`: unknown key; did you mean `agents.defaults.subagents.maxSpawnDepth`?
    line 9, column 14: `session.idleMinutes`: is an old name; it is now `session.reset.idleMinutes`
    line 9, column 37: `session.scope`: `global` is not supported yet; expected `per-sender`
    line 10, column 30: `messages.queue.mode`: expected one of `steer`, `followup`, `collect`, `interrupt`, got `shout`
    line 10, column 44: `messages.queue.cap`: expected a whole number from 1 to 1000, got 0
    line 10, column 53: `messages.queue.drop`: expected one of `old`, `new`, `summarize`, got true
    line 11, column 18: `tools.exec`: expected an object, got a list of 0
    line 11, column 29: `tools.allow`: expected a list of strings, got the string "all"
    line 11, column 42: `tools.deny`: expected a list of strings, got a list of 1
    line 12, column 21: `logging.level`: expected one of `silent`, `fatal`, `error`, `warn`, `info`, `debug`, `trace`, got `loud`
    line 13, column 3: `$include`: is not supported yet; write what it holds into this file
    line 14, column 3: `xyzzy`: unknown key
    "#);
}

#[test]
fn what_openclaw_has_and_we_do_not_is_a_warning() {
    let (_, warnings) = loaded(
        r#"{
  channels: { telegram: { botToken: "x", anything: [1] } },
  agents: {
    defaults: { model: "anthropic/claude", heartbeat: { every: "30m" },
      subagents: { announceTimeoutMs: 5 } },
    list: [{ id: "main", identity: { name: "A" }, sandbox: { mode: "off" } }],
  },
  gateway: { tailscale: { mode: "off" } },
  models: { providers: { stub: {
    baseUrl: "http://h", api: "openai-completions",
    models: [{ id: "m", compat: {}, cost: { input: 1, output: 5 } }],
  } } },
}"#,
    );
    assert_snapshot!(warnings, @r#"
    line 2, column 3: `channels`: is a key of OpenClaw's that has no effect here yet
    line 4, column 44: `agents.defaults.heartbeat`: is a key of OpenClaw's that has no effect here yet
    line 5, column 20: `agents.defaults.subagents.announceTimeoutMs`: is a key of OpenClaw's that has no effect here yet
    line 6, column 26: `agents.list[0].identity`: is a key of OpenClaw's that has no effect here yet
    line 6, column 51: `agents.list[0].sandbox`: is a key of OpenClaw's that has no effect here yet
    line 8, column 14: `gateway.tailscale`: is a key of OpenClaw's that has no effect here yet
    line 11, column 25: `models.providers.stub.models[0].compat`: is a key of OpenClaw's that has no effect here yet
    "#);
}

#[test]
fn a_provider_that_is_wrong() {
    assert_snapshot!(refused(r#"{
  agents: { defaults: { model: "antropic/x", subagents: { model: "bad/x" } } },
  models: { mode: "replace", providers: {
    bad: { apiKey: "${NOT_SET}", models: [{ name: "x" }, 5] },
    gem: { baseUrl: "ftp://x", api: "google-vertex", timeoutSeconds: 0 },
    user: { baseUrl: "https://u:p@host/v1", api: "opneai" , headers: { "a b": "c" } },
    anthropic: { apiKey: { source: "exec", command: "x" } },
    five: 5,
  } },
}"#), @r#"
    line 2, column 32: `agents.defaults.model`: no provider `antropic` in `models.providers`; did you mean `anthropic`?
    line 3, column 19: `models.mode`: `replace` is not supported yet; expected `merge`
    line 4, column 10: `models.providers.bad`: `baseUrl` is missing: expected a URL of the provider's API
    line 4, column 10: `models.providers.bad`: `api` is missing: expected one of `anthropic-messages`, `openai-completions`, `openai-responses`, `google-generative-ai`
    line 4, column 20: `models.providers.bad.apiKey`: the variable `NOT_SET` is not set
    line 4, column 43: `models.providers.bad.models[0]`: `id` is missing: expected the provider's name of the model
    line 4, column 58: `models.providers.bad.models[1]`: expected an object, got 5
    line 5, column 21: `models.providers.gem.baseUrl`: expected a URL that begins with `https://` or `http://`
    line 5, column 37: `models.providers.gem.api`: `google-vertex` is not supported yet; expected one of `anthropic-messages`, `openai-completions`, `openai-responses`, `google-generative-ai`
    line 5, column 70: `models.providers.gem.timeoutSeconds`: expected a whole number from 1 to 86400, got 0
    line 6, column 22: `models.providers.user.baseUrl`: holds a password; put it into `apiKey` or `headers`
    line 6, column 50: `models.providers.user.api`: expected one of `anthropic-messages`, `openai-completions`, `openai-responses`, `google-generative-ai`, got `opneai`
    line 6, column 79: `models.providers.user.headers["a b"]`: expected the name of an HTTP header
    line 7, column 53: `models.providers.anthropic.apiKey.command`: expected a list of strings, got the string "x"
    line 8, column 11: `models.providers.five`: expected an object, got 5
    "#);
}

#[test]
fn a_missing_secret_matters_where_it_is_used() {
    let text = |model: &str| {
        format!(
            r#"{{ agents: {{ defaults: {{ model: "{model}" }} }}, models: {{ providers: {{
  a: {{ baseUrl: "http://h", api: "openai", apiKey: "${{UNSET_A}}" }},
  b: {{ baseUrl: "http://h", api: "openai", apiKey: {{ source: "env", id: "UNSET_B" }} }},
  c: {{ baseUrl: "http://h", api: "openai", apiKey: {{ source: "file", path: "/etc/empty" }} }},
  d: {{ baseUrl: "http://h", api: "openai", apiKey: {{ source: "file", path: "none" }} }},
}} }} }}"#
        )
    };
    assert_snapshot!(loaded(&text("anthropic/x")).1, @r#"
    line 2, column 52: `models.providers.a.apiKey`: the variable `UNSET_A` is not set
    line 3, column 52: `models.providers.b.apiKey`: the variable `UNSET_B` is not set
    line 4, column 52: `models.providers.c.apiKey`: the file /etc/empty is empty
    line 5, column 52: `models.providers.d.apiKey`: cannot read /home/anna/.windlass/none: entity not found
    "#);
    let told = ["a/x", "b/x", "c/x", "d/x"].map(|model| refused(&text(model)));
    assert_snapshot!(told.join("\n"), @r#"
    line 2, column 52: `models.providers.a.apiKey`: the variable `UNSET_A` is not set
    line 3, column 52: `models.providers.b.apiKey`: the variable `UNSET_B` is not set
    line 4, column 52: `models.providers.c.apiKey`: the file /etc/empty is empty
    line 5, column 52: `models.providers.d.apiKey`: cannot read /home/anna/.windlass/none: entity not found
    "#);
    let (_, warnings) = loaded(r#"{ agents: { defaults: { model: "openai/x" } } }"#);
    assert_snapshot!(warnings, @r#"line 1, column 1: `models.providers.openai.apiKey`: no key: set it, or the variable OPENAI_API_KEY"#);
}

#[test]
fn variables_in_strings() {
    let told = |name: &str| {
        let text = format!("{{ agents: {{ entries: {{ main: {{ name: \"{name}\" }} }} }} }}");
        let (config, _) = loaded(&text);
        config.get("agents.entries.main.name").unwrap()
    };
    for (name, value) in [
        ("${PORT_LIKE}", "x"),
        ("a${PORT_LIKE}b${PORT_LIKE}", "axbx"),
        ("$${PORT_LIKE}", "${PORT_LIKE}"),
        ("${lower}", "${lower}"),
        ("${", "${"),
        ("${}", "${}"),
        ("$PORT_LIKE", "$PORT_LIKE"),
    ] {
        assert_eq!(told(name), value, "{name}");
    }
    let told = refused("{ agents: { entries: { main: { name: 'a ${NOPE}' } } } }");
    assert_snapshot!(told, @r#"line 1, column 38: `agents.entries.main.name`: the variable `NOPE` is not set"#);
}

#[test]
fn agents_that_contradict_each_other() {
    assert_snapshot!(refused(r#"{ agents: {
  entries: { a: { default: true, subagents: { allowAgents: ["lib", "B!"] } }, lab: {} },
  list: [{ id: "c", default: true }, { id: "A" }, { name: "x" }],
} }"#), @r#"
    line 2, column 60: `agents.entries.a.subagents.allowAgents`: expected an agent id: a letter or digit, then up to 63 of `a-z 0-9 _ -`; got `B!`
    line 2, column 60: `agents.entries.a.subagents.allowAgents`: no agent `lib` in `agents.entries`; did you mean `lab`?
    line 3, column 10: `agents.list[0]`: `default` is true of `a` already
    line 3, column 38: `agents.list[1]`: there is another agent `a`
    line 3, column 51: `agents.list[2]`: `id` is missing: expected an agent id
    "#);
}

#[test]
fn a_gateway_that_would_be_open() {
    let told = [
        "{ gateway: { bind: 'lan', auth: { mode: 'none' } } }",
        "{ gateway: { bind: 'custom' } }",
        "{ gateway: { bind: 'custom', customBindHost: 'host' } }",
        "{ gateway: { mode: 'remote' } }",
    ]
    .map(refused);
    assert_snapshot!(told.join("\n"), @r#"
    line 1, column 20: `gateway.bind`: anyone who reaches the port could run commands: other addresses than loopback need `gateway.auth.mode` to be `token`
    line 1, column 20: `gateway.bind`: `custom` needs `gateway.customBindHost`
    line 1, column 46: `gateway.customBindHost`: expected an IP address such as `192.168.1.5`, got `host`
    line 1, column 20: `gateway.mode`: `remote` needs `gateway.remote.url`, such as `ws://host:18789`
    "#);
    let (config, _) = loaded("{ gateway: { bind: 'custom', customBindHost: '::1' } }");
    assert!(config.gateway.address().is_loopback());
}

#[test]
fn commands_find_a_gateway_at_any_address() {
    for (bind, near) in [
        ("'loopback'", "127.0.0.1"),
        ("'lan'", "127.0.0.1"),
        ("'custom', customBindHost: '192.168.1.5'", "192.168.1.5"),
    ] {
        let (config, _) = loaded(&format!("{{ gateway: {{ bind: {bind} }} }}"));
        assert_eq!(config.gateway.near_address().to_string(), near, "{bind}");
    }
}

#[test]
fn text_that_is_no_json5() {
    let told = [
        "",
        "// nothing\n",
        "[]",
        "{ gateway: { port: 1 }",
        "{ gateway: { port: 1 } } }",
        "{ a: 1 b: 2 }",
        "{\n  gateway: {\n    port: ,\n  }\n}",
        "{ gateway: 'open\n }",
        "{ /* open",
        "{ logging: { level: \"info\" }, logging: {} }",
    ]
    .map(|text| format!("{text:?}\n  {}", refused(text)));
    assert_snapshot!(told.join("\n"), @r#"
    ""
      line 1, column 1: expected an object `{ … }`, got nothing
    "// nothing\n"
      line 1, column 1: expected an object `{ … }`, got nothing
    "[]"
      line 1, column 1: expected an object `{ … }`, got a list of 0
    "{ gateway: { port: 1 }"
      line 1, column 1: not JSON5: unterminated object
    "{ gateway: { port: 1 } } }"
      line 1, column 26: not JSON5: text cannot contain more than one JSON value
    "{ a: 1 b: 2 }"
      line 1, column 7: not JSON5: expected comma
    "{\n  gateway: {\n    port: ,\n  }\n}"
      line 3, column 11: not JSON5: unexpected comma
    "{ gateway: 'open\n }"
      line 1, column 12: not JSON5: unterminated string literal
    "{ /* open"
      line 1, column 3: not JSON5: unterminated comment block
    "{ logging: { level: \"info\" }, logging: {} }"
      line 1, column 31: `logging`: is written twice, first on line 1
    "#);
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let text = format!("{{ a: {}{} }}", "[".repeat(100_000), "]".repeat(100_000));
    assert_snapshot!(refused(&text), @r#"line 1, column 516: not JSON5: maximum nesting depth exceeded"#);
}

#[test]
fn where_the_files_are() {
    let of = |vars: &[(&'static str, &'static str)], home: Option<&str>| {
        let world = World { vars: vars.iter().copied().collect(), ..World::default() };
        Paths::of(&world, home.map(PathBuf::from))
    };
    let state = ("WINDLASS_STATE_DIR", "~/state");
    let config = ("WINDLASS_CONFIG_PATH", "/etc/w.json");
    for (vars, home, expected) in [
        (vec![], Some("/h"), Some(("/h/.windlass/windlass.json", "/h/.windlass"))),
        (vec![state], Some("/h"), Some(("/h/state/windlass.json", "/h/state"))),
        (vec![state, config], Some("/h"), Some(("/etc/w.json", "/h/state"))),
        (vec![config], None, None),
    ] {
        let found = of(&vars, home).ok();
        let found = found.as_ref().map(|p| (p.config.to_str().unwrap(), p.state.to_str().unwrap()));
        assert_eq!(found, expected, "{vars:?}");
    }
    let missing = load_in(&of(&[config], Some("/h")).unwrap(), &World::default()).unwrap();
    assert_eq!(lines(&missing.warnings[..1]), "no file at /etc/w.json: all defaults stand");
}

#[test]
fn the_whole_report() {
    let world = World {
        files: [("/home/anna/.windlass/windlass.json", "{\n gatway: 1,\n tools: 2 }")].into(),
        ..World::default()
    };
    assert_snapshot!(load_in(&paths(), &world).unwrap_err().to_string(), @r#"
    2 errors in /home/anna/.windlass/windlass.json
      line 2, column 2: `gatway`: unknown key; did you mean `gateway`?
      line 3, column 9: `tools`: expected an object, got 2
    "#);
}

proptest! {
    #[test]
    fn a_cut_file_is_refused_with_a_place(at in 0..FULL.len()) {
        if let Some(cut) = FULL.get(..at) {
            match check(Some(cut), &paths(), &world()) {
                // Only what follows the last brace may be missing.
                Ok(_) => prop_assert!(FULL[at..].trim().is_empty(), "{cut}"),
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    let lines = cut.lines().count() + 1;
                    for problem in problems {
                        let place = problem.place.unwrap();
                        prop_assert!((1..=lines).contains(&place.line), "{problem}");
                        prop_assert!(place.column >= 1, "{problem}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_damaged_file_never_panics(at in 0..FULL.len(), with in "[{}\\[\\],:'\"$\\\\x0-9é]{1,3}") {
        if FULL.is_char_boundary(at) {
            let text = format!("{}{with}{}", &FULL[..at], &FULL[at..]);
            if let Err(problems) = check(Some(&text), &paths(), &world()) {
                prop_assert!(problems.iter().all(|problem| problem.place.is_some()));
            }
        }
    }
}
