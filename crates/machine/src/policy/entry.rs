//! One entry of a list of tools: a name, a group, or a pattern.

use serde::{Serialize, Serializer};

use super::ToolFact;

/// Names that entries may use for a tool of another name.
const ALIASES: &[(&str, &str)] = &[("bash", "exec"), ("cron", "automations")];

/// The group of all tools that servers bring, and of each server as `mcp:<server>`.
pub const MCP: &str = "mcp";

/// An entry as it is written: `exec`, `group:fs`, `sessions_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(String);

impl Entry {
    pub fn of(text: &str) -> Entry {
        Entry(text.to_owned())
    }

    /// Does it name this tool?
    pub fn names(&self, fact: &ToolFact) -> bool {
        let text = self.0.trim().to_lowercase();
        let is_in = |group: &str| fact.groups.iter().any(|own| own.eq_ignore_ascii_case(group));
        // OpenClaw's word for the tools of all servers.
        if text == "bundle-mcp" {
            return is_in(MCP);
        }
        // `mcp:<server>` is a group, with and without that word.
        let server = text.starts_with("mcp:").then_some(text.as_str());
        if let Some(group) = text.strip_prefix("group:").or(server) {
            // OpenClaw's word for all that are not a plugin's.
            return is_in(group) || group == "openclaw" && !is_in(MCP);
        }
        let alias = ALIASES.iter().find(|(alias, _)| *alias == text);
        // Servers name their tools as they like, also with capitals.
        matches(alias.map_or(text.as_str(), |(_, name)| name), &fact.name.to_lowercase())
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Does `pattern` cover the whole of `name`? A `*` stands for any text, or none.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The leftmost place leaves the most for what comes after.
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use types::EffectClass;

    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, is) in [
            ("exec", "exec", true),
            ("exec", "execute", false),
            ("*", "anything", true),
            ("sessions_*", "sessions_spawn", true),
            ("sessions_*", "session_status", false),
            ("*_list", "agents_list", true),
            ("s*s_*t", "sessions_list", true),
            ("a*a", "a", false),
            ("**", "", true),
            ("", "exec", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn names_groups_and_aliases() {
        let exec = ToolFact {
            name: "exec".to_owned(),
            effect: EffectClass::Opaque,
            groups: vec!["runtime".to_owned()],
            description: String::new(),
        };
        for text in ["exec", "bash", "Exec ", "group:runtime", "group:openclaw", "ex*"] {
            assert!(Entry::of(text).names(&exec), "{text}");
        }
        for text in ["group:fs", "cron", "runtime", "group:", "group:*", "group:mcp", "bundle-mcp"]
        {
            assert!(!Entry::of(text).names(&exec), "{text}");
        }
    }

    #[test]
    fn tools_of_servers() {
        let tool = ToolFact {
            name: "Files__readFile".to_owned(),
            effect: EffectClass::Opaque,
            groups: vec!["mcp".to_owned(), "mcp:Files".to_owned()],
            description: String::new(),
        };
        for text in [
            "group:mcp",
            "bundle-mcp",
            "mcp:Files",
            "group:mcp:files",
            "Files__*",
            "files__readfile",
        ] {
            assert!(Entry::of(text).names(&tool), "{text}");
        }
        for text in ["group:openclaw", "mcp:other", "mcp", "files", "group:fs"] {
            assert!(!Entry::of(text).names(&tool), "{text}");
        }
    }
}
