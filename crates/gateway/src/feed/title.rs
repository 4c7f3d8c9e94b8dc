//! What a tool is called with, on one line: enough to follow what an agent does, and no secret.

use runtime::redact::redact;
use serde_json::Value;

use crate::view::clip;

/// Longest title, in characters: a line of a terminal.
const CHARS_MAX: usize = 120;

/// Arguments that say best what a call is about, the best first: a tool's own title, what it works
/// on, whom it asks.
const TELLING: &[&str] = &[
    "title",
    "command",
    "path",
    "url",
    "query",
    "pattern",
    "glob",
    "taskName",
    "label",
    "task",
    "sessionKey",
    "target",
    "message",
    "action",
    "name",
    "input",
];

/// Returns what a call is about; empty if its arguments do not say.
pub fn title(tool: &str, args: &Value) -> String {
    let Value::Object(map) = args else { return line(args.as_str().unwrap_or_default()) };
    let of = |name: &&str| map.get(*name).and_then(Value::as_str).filter(|text| !text.is_empty());
    // What `subagents` and its like do stands before with whom.
    let action = map.get("action").and_then(Value::as_str).filter(|_| tool != "exec");
    let telling = TELLING.iter().filter(|name| **name != "action").find_map(of);
    let first = || map.values().find_map(Value::as_str);
    match (action, telling.or_else(first)) {
        (Some(action), Some(told)) if action != told => line(&format!("{action} {told}")),
        (Some(told), _) | (None, Some(told)) => line(told),
        (None, None) => String::new(),
    }
}

fn line(text: &str) -> String {
    // A secret must not be cut to what looks like none.
    let covered = redact(text);
    let text = covered.as_deref().unwrap_or(text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    clip(&words, CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_told_on_one_line() {
        for (tool, args, expected) in [
            ("exec", json!({"command": "ls -la\n  | wc"}), "ls -la | wc"),
            ("exec", json!({"title": "Count", "command": "wc"}), "Count"),
            ("read", json!({"path": "a.md", "limit": 3}), "a.md"),
            ("sessions_spawn", json!({"task": "do it", "taskName": "leaf"}), "leaf"),
            ("subagents", json!({"action": "kill", "target": "leaf"}), "kill leaf"),
            ("subagents", json!({"action": "list"}), "list"),
            ("subagents", json!({}), ""),
            ("other", json!({"n": 1, "what": "that"}), "that"),
            ("broken", json!("{\"path\":"), "{\"path\":"),
            ("broken", Value::Null, ""),
        ] {
            assert_eq!(title(tool, &args), expected, "{tool} {args}");
        }
    }

    #[test]
    fn a_title_is_short_and_covers_keys() {
        let long = title("exec", &json!({"command": "x ".repeat(500)}));
        assert_eq!(long.chars().count(), CHARS_MAX + 1);
        let key = format!("ghp_{}", "a1".repeat(30));
        let told = title("exec", &json!({"command": format!("curl -H {key} {}", "y".repeat(90))}));
        assert!(told.starts_with("curl -H [redacted] yyy"), "{told}");
    }
}
