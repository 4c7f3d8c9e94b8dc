//! Lists of tools, wherever they stand: `allow`, `alsoAllow`, `deny`, and the loop guard beside
//! them.

use std::collections::BTreeMap;

use machine::policy::Entry;
pub use machine::policy::Profile;
use runtime::catalogue;
use serde::Serialize;
use tools::Toolbox;

use super::inventory;
use super::key_path::KeyPath;
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

/// What is said of one provider, or of one model of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProviderTools {
    /// Nothing but this set, and `alsoAllow` beside it.
    pub profile: Option<Profile>,
    #[serde(flatten)]
    pub lists: ToolLists,
}

/// `byProvider`: by `provider` or `provider/model`, in small letters.
pub type ByProvider = BTreeMap<String, ProviderTools>;

/// Reads what is said of single providers and models.
pub(super) fn by_provider(s: &mut Section<'_>) -> ByProvider {
    let mut rules = ByProvider::new();
    s.section("byProvider", |s| {
        s.each(|key, s| {
            let spot = s.spot();
            let profile = s.word("profile", Profile::ALL, &[]);
            let said = ProviderTools { profile, lists: ToolLists::read(s) };
            if key.is_empty() || key.contains(char::is_whitespace) {
                let expected = "expected `provider` or `provider/model`";
                return s.cx.error(&spot, format!("{expected}, got `{key}`"));
            }
            if rules.insert(key.to_lowercase(), said).is_some() {
                s.cx.error(&spot, format!("`{key}` is there twice; capitals do not matter"));
            }
        });
    });
    rules
}

/// Doubts rules for a provider that is not there: they take nothing away.
pub(super) fn check_providers<'a>(
    s: &Section<'_>,
    above: &str,
    rules: &ByProvider,
    known: impl Iterator<Item = &'a str> + Clone,
) {
    for key in rules.keys() {
        let provider = key.split_once('/').map_or(key.as_str(), |(provider, _)| provider);
        if known.clone().any(|id| id.eq_ignore_ascii_case(provider)) {
            continue;
        }
        let near = inventory::nearest_word(provider, known.clone());
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let mut spot = s.spot();
        spot.path = KeyPath::parse(above).unwrap_or_default().key("byProvider").key(key);
        s.cx.warn(&spot, format!("no provider `{provider}` in `models.providers`{hint}"));
    }
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
