//! The keys of OpenClaw: to tell a key that we do not serve yet from one that nobody knows.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::key_path::{KeyPath, Step};

/// Patterns, one for each key, as lists of steps.
static KEYS: LazyLock<Vec<Vec<String>>> =
    LazyLock::new(|| unfold(include_str!("openclaw-keys.txt")));

/// Keys that OpenClaw has renamed, and their place now.
const RENAMED: &[(&str, &str)] = &[
    ("defaultModel", "agents.defaults.model"),
    ("heartbeat", "agents.defaults.heartbeat"),
    ("memorySearch", "memory.search"),
    ("audit", "logging.audit"),
    ("media", "attachments"),
    ("routing", "channels"),
    ("agents.defaults.memorySearch", "memory.search"),
    ("agents.defaults.embeddedPi", "agents.defaults.embeddedAgent"),
    ("agents.entries.*.memorySearch", "agents.entries.*.memory.search"),
    ("agents.entries.*.sandbox.perSession", "agents.entries.*.sandbox.scope"),
    ("session.idleMinutes", "session.reset.idleMinutes"),
    ("session.threadBindings.ttlHours", "session.threadBindings.idleHours"),
    ("messages.tts", "tts"),
    ("gateway.nodes.allowCommands", "gateway.nodes.commands.allow"),
    ("gateway.nodes.denyCommands", "gateway.nodes.commands.deny"),
    ("gateway.token", "gateway.auth.token"),
    ("cron.failureDestination", "cron.failureAlert"),
    ("mcp.servers.*.type", "mcp.servers.*.transport"),
    ("mcp.servers.*.disabled", "mcp.servers.*.enabled"),
    ("mcp.servers.*.timeout", "mcp.servers.*.requestTimeoutMs"),
];

/// Unfolds `a.{b c}` and drops comments.
fn unfold(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .flat_map(|line| {
            let (head, leaves) = match line.split_once('{') {
                Some((head, leaves)) => (head, leaves.trim_end_matches('}')),
                None => ("", line),
            };
            leaves.split(' ').map(move |leaf| steps_of(&format!("{head}{leaf}")))
        })
        .collect()
}

/// Splits a pattern; the items of an array are a step of their own.
fn steps_of(pattern: &str) -> Vec<String> {
    let mut steps = Vec::new();
    for part in pattern.split('.') {
        match part.strip_suffix("[]") {
            Some(key) => steps.extend([key.to_owned(), "[]".to_owned()]),
            None => steps.push(part.to_owned()),
        }
    }
    steps
}

fn step_matches(pattern: &str, step: &Step) -> bool {
    match step {
        Step::Key(key) => pattern == "*" || pattern == key,
        Step::Index(_) => pattern == "[]",
    }
}

/// Gives a key of the old list of agents the place that it has now.
fn current(path: &KeyPath) -> KeyPath {
    match path.steps() {
        [agents, Step::Key(list), Step::Index(index), rest @ ..] if list == "list" => {
            let entries = Step::Key("entries".to_owned());
            let id = Step::Key(index.to_string());
            [agents.clone(), entries, id].into_iter().chain(rest.iter().cloned()).collect()
        }
        _ => path.clone(),
    }
}

/// Is this a key of OpenClaw's, or one above or below it?
pub fn knows(path: &KeyPath) -> bool {
    let path = current(path);
    KEYS.iter().any(|pattern| pattern.iter().zip(path.steps()).all(|(p, s)| step_matches(p, s)))
}

/// Returns the place of a key that has an old name of OpenClaw's.
pub fn renamed(path: &KeyPath) -> Option<&'static str> {
    let is = |pattern: &str| {
        let pattern = steps_of(pattern);
        pattern.len() == path.steps().len()
            && pattern.iter().zip(path.steps()).all(|(p, s)| step_matches(p, s))
    };
    RENAMED.iter().find(|(old, _)| is(old)).map(|(_, new)| *new)
}

/// Returns the keys that OpenClaw has directly below `path`.
fn below(path: &KeyPath) -> BTreeSet<&'static str> {
    let depth = path.steps().len();
    KEYS.iter()
        .filter(|pattern| pattern.len() > depth)
        .filter(|pattern| pattern.iter().zip(path.steps()).all(|(p, s)| step_matches(p, s)))
        .map(|pattern| pattern[depth].as_str())
        .filter(|key| !matches!(*key, "*" | "[]"))
        .collect()
}

/// Returns the right key that is nearest to a wrong one: one of `ours`, then one of OpenClaw's at
/// the same place, then a key of the same name in another place.
pub fn nearest(parent: &KeyPath, wrong: &str, ours: &BTreeSet<String>) -> Option<String> {
    let here = ours.iter().map(String::as_str).chain(below(parent));
    if let Some(key) = nearest_word(wrong, here) {
        return Some(parent.key(key).to_string());
    }
    let mut elsewhere = KEYS.iter().filter(|pattern| pattern.last().is_some_and(|l| l == wrong));
    match (elsewhere.next(), elsewhere.next()) {
        (Some(only), None) => Some(only.join(".").replace(".[]", "[]")),
        _ => None,
    }
}

/// Returns the word that `wrong` is most likely meant to be, if any is near.
pub fn nearest_word<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in every three letters: `prot` is `port`, `token` is not `tools`.
    let slips_max = wrong.chars().count().div_ceil(3).min(3);
    let wrong = wrong.to_lowercase();
    words
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&wrong, &word.to_lowercase()), word))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> KeyPath {
        KeyPath::parse(text).unwrap()
    }

    #[test]
    fn knows_what_openclaw_knows() {
        for known in [
            "channels.telegram.botToken",
            "hooks",
            "agents.defaults.heartbeat.every",
            "agents.entries.ops.sandbox",
            "agents.entries.ops.sandbox.mode",
            "models.providers.x.models[3].cost.input",
            "session.sendPolicy.rules[0].match.channel",
            "messages.queue.byChannel.slack",
            "agents.list[0].heartbeat",
        ] {
            assert!(knows(&path(known)), "{known}");
        }
        for unknown in ["gatway", "gateway.prot", "agents.entries.ops.sandbx", "hooks[0]"] {
            assert!(!knows(&path(unknown)), "{unknown}");
        }
        assert!(KEYS.len() > 800, "the inventory has {} keys", KEYS.len());
    }

    #[test]
    fn the_nearest_key() {
        let ours =
            BTreeSet::from(["port".to_owned(), "bind".to_owned(), "maxWeirdness".to_owned()]);
        for (wrong, right) in [
            ("prot", Some("gateway.port")),
            ("Port", Some("gateway.port")),
            ("maxweirdness", Some("gateway.maxWeirdness")),
            ("tailscle", Some("gateway.tailscale")),
            ("maxSpawnDepth", Some("agents.defaults.subagents.maxSpawnDepth")),
            ("xyzzy", None),
        ] {
            assert_eq!(nearest(&path("gateway"), wrong, &ours).as_deref(), right, "{wrong}");
        }
    }
}
