//! Lists of tools, wherever they stand: `allow`, `alsoAllow`, `deny`, and the loop guard beside
//! them.

use machine::policy::Entry;
pub use machine::policy::Profile;
use runtime::catalogue;
use serde::Serialize;
use tools::Toolbox;

use super::section::Section;

/// Names, `group:…` and patterns with `*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolLists {
    /// Only these, if it is written.
    pub allow: Option<Vec<String>>,
    /// These beside `allow`, and beside the profile.
    pub also_allow: Vec<String>,
    /// Never these, whatever else is said.
    pub deny: Vec<String>,
}

/// What is said of all sub-agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubagentTools {
    pub tools: ToolLists,
}

/// The guard against a call that is repeated and always has the same result.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopDetection {
    pub enabled: bool,
    /// How often the same call may have the same result.
    pub max_repeats: u32,
}

/// What one agent's entry says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopDetectionOf {
    pub enabled: Option<bool>,
    pub max_repeats: Option<u32>,
}

/// More repetitions than this are no guard.
const REPEATS_MAX: u32 = 1_000;

impl ToolLists {
    pub(super) fn read(s: &mut Section<'_>) -> ToolLists {
        ToolLists {
            allow: entries(s, "allow"),
            also_allow: entries(s, "alsoAllow").unwrap_or_default(),
            deny: entries(s, "deny").unwrap_or_default(),
        }
    }
}

impl Default for LoopDetection {
    fn default() -> LoopDetection {
        LoopDetection { enabled: true, max_repeats: 3 }
    }
}

impl LoopDetection {
    pub(super) fn read(s: &mut Section<'_>) -> LoopDetection {
        LoopDetection::default().with(&LoopDetectionOf::read(s))
    }

    /// As one agent has it.
    pub fn with(&self, own: &LoopDetectionOf) -> LoopDetection {
        LoopDetection {
            enabled: own.enabled.unwrap_or(self.enabled),
            max_repeats: own.max_repeats.unwrap_or(self.max_repeats),
        }
    }
}

impl LoopDetectionOf {
    pub(super) fn read(s: &mut Section<'_>) -> LoopDetectionOf {
        LoopDetectionOf {
            enabled: s.flag("enabled"),
            max_repeats: s.count("maxRepeats", 1..=REPEATS_MAX),
        }
    }
}

/// Reads a list of tools. An entry that names none is worth a word: it may be meant for another
/// version, or be a slip that leaves a tool where it was to be taken away.
pub(super) fn entries(s: &mut Section<'_>, key: &str) -> Option<Vec<String>> {
    let texts = s.texts(key)?;
    let facts = catalogue(&Toolbox::builtin(&tools::Config::default()), None);
    for text in &texts {
        let entry = Entry::of(text);
        // Tools of servers are known only when those have told them.
        let of_server = text.contains("__") || text.contains("mcp");
        if !of_server && !facts.iter().any(|fact| entry.names(fact)) {
            let spot = s.spot_of(key);
            s.cx.warn(&spot, format!("`{text}` names no tool that there is here"));
        }
    }
    Some(texts)
}
