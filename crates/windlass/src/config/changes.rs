//! What is another in one configuration than in another, by key, and whether a running gateway can
//! take it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Config;
use super::key_path::KeyPath;

/// A key as it is printed.
type KeyPathText = String;

/// Keys, and those below them, that a gateway reads at its start only: the port is open, who may
/// come in is decided, and the log is written.
const AT_THE_START: &[&str] = &[
    "gateway.port",
    "gateway.bind",
    "gateway.customBindHost",
    "gateway.auth.mode",
    "gateway.auth.token",
    "logging.level",
];

/// Keys that are others than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that hold at once, for what begins from then on.
    pub hot: Vec<String>,
    /// Those that hold from the next start on.
    pub restart: Vec<String>,
}

impl Changes {
    pub fn between(old: &Config, new: &Config) -> Changes {
        let mut keys = BTreeSet::new();
        let as_json = |config: &Config| serde_json::to_value(config).unwrap_or_default();
        differ(&as_json(old), &as_json(new), &KeyPath::default(), &mut keys);
        secrets(old, new, &mut keys);
        let (restart, hot) = keys.into_iter().partition(|key| needs_a_start(key));
        Changes { hot, restart }
    }

    pub fn is_none(&self) -> bool {
        self.hot.is_empty() && self.restart.is_empty()
    }
}

fn needs_a_start(key: &str) -> bool {
    let covers = |at: &str| key.strip_prefix(at).is_some_and(|rest| !starts_word(rest));
    AT_THE_START.iter().any(|at| covers(at))
}

/// Does a key go on in the middle of a word?
fn starts_word(rest: &str) -> bool {
    !(rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
}

/// Finds the keys at which two values differ. A list is one value.
fn differ(old: &Value, new: &Value, at: &KeyPath, keys: &mut BTreeSet<KeyPathText>) {
    let (Value::Object(old_map), Value::Object(new_map)) = (old, new) else {
        if old != new {
            keys.insert(at.to_string());
        }
        return;
    };
    let names: BTreeSet<&String> = old_map.keys().chain(new_map.keys()).collect();
    // A key that is not there is one without a value.
    let of = |map: &Map<String, Value>, name: &String| map.get(name).cloned().unwrap_or_default();
    for name in names {
        differ(&of(old_map, name), &of(new_map, name), &at.key(name), keys);
    }
}

/// Adds what is shown as the same because it is not shown at all.
fn secrets(old: &Config, new: &Config, keys: &mut BTreeSet<KeyPathText>) {
    if old.gateway.auth.token != new.gateway.auth.token {
        keys.insert("gateway.auth.token".to_owned());
    }
    if old.gateway.remote.token != new.gateway.remote.token {
        keys.insert("gateway.remote.token".to_owned());
    }
    let providers = KeyPath::default().key("models").key("providers");
    within(&old.models.providers, &new.models.providers, &providers, keys);
    let servers = KeyPath::default().key("mcp").key("servers");
    within(&old.mcp.servers, &new.mcp.servers, &servers, keys);
}

/// Adds the entries that are others, and of which no key is known to be.
fn within<T: PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    at: &KeyPath,
    keys: &mut BTreeSet<KeyPathText>,
) {
    for (id, entry) in new {
        let key = at.key(id).to_string();
        let known =
            |other: &KeyPathText| other.strip_prefix(&key).is_some_and(|rest| !starts_word(rest));
        if old.get(id).is_some_and(|before| before != entry) && !keys.iter().any(known) {
            keys.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::loaded;

    const BEFORE: &str = r#"{
      gateway: { port: 18789, auth: { token: "one" } },
      agents: { defaults: { model: "p/m" }, entries: { main: {}, ops: {} } },
      models: { providers: { p: { baseUrl: "http://h/v1", api: "openai-completions",
        apiKey: "sk-one", models: [{ id: "m" }] } } },
      mcp: { servers: { s: { command: "cat", env: { KEY: "one" } } } },
    }"#;

    fn changes(from: &str, to: &str) -> Changes {
        assert!(BEFORE.contains(from), "{from}");
        Changes::between(&loaded(BEFORE).0, &loaded(&BEFORE.replace(from, to)).0)
    }

    #[test]
    fn each_key_is_hot_or_needs_a_start() {
        #[rustfmt::skip]
        let table: &[(&str, &str, &[&str], &[&str])] = &[
            // from                to                            hot                        restart
            ("port: 18789",        "port: 18789",                &[],                       &[]),
            ("port: 18789",        "port: 1",                    &[],                       &["gateway.port"]),
            ("auth: {",            "bind: \"lan\", auth: {",     &[],                       &["gateway.bind"]),
            ("token: \"one\"",     "token: \"two\"",             &[],                       &["gateway.auth.token"]),
            ("auth: {",            "reload: { mode: \"off\" }, auth: {", &["gateway.reload.mode"], &[]),
            ("sk-one",             "sk-two",                     &["models.providers.p"],   &[]),
            ("http://h/v1",        "http://h/v2",                &["models.providers.p.baseUrl"], &[]),
            ("KEY: \"one\"",       "KEY: \"two\"",               &["mcp.servers.s"],        &[]),
            ("KEY: \"one\"",       "KEY: \"one\", B: \"x\"",     &["mcp.servers.s.env.B"],  &[]),
            ("s: { command: \"cat\", env: { KEY: \"one\" } }", "", &["mcp.servers.s"],      &[]),
            (", ops: {}",          "",                           &["agents.entries.ops"],   &[]),
            ("mcp: {",             "logging: { level: \"debug\" }, mcp: {", &[],            &["logging.level"]),
        ];
        for (from, to, hot, restart) in table {
            let found = changes(from, to);
            assert_eq!(found.hot, *hot, "{from} -> {to}");
            assert_eq!(found.restart, *restart, "{from} -> {to}");
            assert_eq!(found.is_none(), hot.is_empty() && restart.is_empty());
        }
    }

    #[test]
    fn one_file_may_do_both() {
        let found = changes("port: 18789, auth", "port: 2, reload: { mode: \"off\" }, auth");
        assert_eq!((&found.hot[..], &found.restart[..]).0, ["gateway.reload.mode"]);
        assert_eq!(found.restart, ["gateway.port"]);
    }

    #[test]
    fn a_key_is_covered_by_its_whole_words() {
        for (key, covered) in [
            ("gateway.port", true),
            ("gateway.bind", true),
            ("gateway.portal", false),
            ("gateway", false),
            ("gateway.auth.token", true),
            ("gateway.auth.tokens", false),
        ] {
            assert_eq!(needs_a_start(key), covered, "{key}");
        }
    }
}
