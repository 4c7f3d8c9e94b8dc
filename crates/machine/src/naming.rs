//! Has the model answered that was asked? Providers have many names for one.
//!
//! ```text
//!  asked          answered                 is the same because
//!  gpt-4o         gpt-4o-2024-08-06        a date says which edition of it
//!  qwen3          qwen3:latest             a tag says the same
//!  claude-3.5-x   us.anthropic.claude-3-5-x-v1:0    region, maker and version of a wire do too
//!  Llama-3.3-70B  accounts/f/models/llama-3.3-70b   a path leads to it
//!  auto           gpt-5                    it was left to the provider
//! ```
//!
//! What a name says beside that is the model: `gpt-5-mini` is not `gpt-5`, and an edition that was
//! asked for is not another one. What cannot be told by names is told by whoever knows it, with
//! `answersAs` of the model's entry.

use std::collections::BTreeSet;

use types::{FailureClass, RunId};

use crate::finish::{End, finish};
use crate::limits::Limits;
use crate::rows::{GateKey, Outcome};
use crate::state::State;

/// What an answer's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The model that was asked.
    Same,
    /// Another name, and somebody has said that it may be: a router, or `answersAs`.
    Accepted,
    /// Another model.
    Other,
}

/// Names by which a provider is asked to choose itself.
const ROUTERS: &[&str] = &["auto", "model-router"];

/// Parts in front of a name on the wires of clouds: regions, then makers.
const REGIONS: &[&str] = &["us", "eu", "apac", "global", "jp", "au", "ca", "us-gov"];
const MAKERS: &[&str] = &[
    "ai21",
    "amazon",
    "anthropic",
    "cohere",
    "deepseek",
    "google",
    "meta",
    "minimax",
    "mistral",
    "moonshot",
    "moonshotai",
    "nvidia",
    "openai",
    "qwen",
    "writer",
];

/// Tags of routers, which say how a model is reached and not which it is.
const ROUTES: &[&str] =
    &["free", "nitro", "floor", "online", "exacto", "extended", "beta", "thinking", "latest"];

/// Words that say which edition of a model it is.
const EDITIONS: &[&str] =
    &["latest", "preview", "exp", "experimental", "beta", "stable", "default", "v1", "v2", "0"];

/// Compares the model that a call went to with the name in its answer. `target` is
/// `provider/model`, with or without an account.
pub fn of(limits: &Limits, target: &str, answered: &str) -> Named {
    if !differs(target, answered) {
        return Named::Same;
    }
    let (asked, bare) = (GateKey::base(target), bare(target));
    let accepted = limits.answers_as.get(asked).map(Vec::as_slice).unwrap_or_default();
    let router = ROUTERS.contains(&last_part(bare).to_lowercase().as_str());
    let named = |name: &String| name == "*" || is_same(name, answered);
    if router || accepted.iter().any(named) { Named::Accepted } else { Named::Other }
}

/// Ends a run that another model has answered than was asked: what was paid for is booked, and in
/// the transcript under its name, but nobody is told that it is the answer of the one that was
/// asked.
pub fn ends(state: &mut State<'_>, run: RunId) -> bool {
    let row = state.run(&run);
    let answered = row.answered.clone().unwrap_or_default();
    let target = row.model.clone();
    if of(state.limits, &target, &answered) != Named::Other {
        return false;
    }
    let error = Some((FailureClass::WrongModel, why(&target, &answered)));
    finish(state, run, End { outcome: Outcome::Failed, text: None, error, quiet: false });
    true
}

/// What people and models are told.
fn why(target: &str, answered: &str) -> String {
    let asked = GateKey::base(target);
    let provider = GateKey::of_model(target).provider;
    format!(
        "asked {asked}, and the provider has answered as `{answered}`, which is another model. If \
         it is the same, or may take its place, name it in `answersAs` of the model's entry in \
         models.providers.{provider}.models (now: {asked} only)"
    )
}

/// Is a name in an answer another than was asked for, accepted or not?
pub fn differs(target: &str, answered: &str) -> bool {
    !answered.is_empty() && !is_same(bare(target), answered)
}

/// The provider's own name of a model.
fn bare(target: &str) -> &str {
    let asked = GateKey::base(target);
    asked.split_once('/').map_or(asked, |(_, model)| model)
}

/// Are these two names of one model?
pub fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    if one.eq_ignore_ascii_case(other) || last_part(one).eq_ignore_ascii_case(last_part(other)) {
        return true;
    }
    let (one, other) = (Name::of(one), Name::of(other));
    let tags = one.tag.is_none() || other.tag.is_none() || one.tag == other.tag;
    let dates = one.date.is_empty() || other.date.is_empty() || one.date == other.date;
    tags && dates && (one.stem == other.stem || one.newest_of(&other) || other.newest_of(&one))
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A name, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    /// Words that say which model it is, sorted: routers put them in another order.
    stem: Vec<String>,
    /// Digits of a date or an edition's number, if it has one.
    date: String,
    /// The size or quantization behind a colon.
    tag: Option<String>,
    /// It asks for whichever edition is the newest.
    latest: bool,
}

impl Name {
    fn of(name: &str) -> Name {
        let name = last_part(name).to_lowercase();
        let (name, tag) = name.split_once(':').map_or((name.as_str(), None), |(name, tag)| {
            let says_nothing = ROUTES.contains(&tag) || tag.bytes().all(|b| b.is_ascii_digit());
            (name, Some(tag.to_owned()).filter(|_| !says_nothing))
        });
        let name = without_cloud(name.strip_suffix(".gguf").unwrap_or(name));
        let words = name.split(['-', '_', '.', '@', ' ']).filter(|word| !word.is_empty());
        let mut stem: Vec<String> = words.map(str::to_owned).collect();
        let latest = stem.iter().any(|word| word == "latest");
        let mut date = String::new();
        // Editions stand last. A name that is nothing else is left one word.
        while stem.len() > 1 {
            let word = &stem[stem.len() - 1];
            if is_date(word, &date) {
                date = format!("{word}{date}");
            } else if !EDITIONS.contains(&word.as_str()) {
                break;
            }
            stem.pop();
        }
        stem.sort();
        Name { stem, date, tag, latest }
    }

    /// Does this name ask for the newest of what the other is a version of?
    fn newest_of(&self, other: &Name) -> bool {
        let is_number = |word: &&String| word.bytes().all(|b| b.is_ascii_digit());
        let plain = |name: &Name| -> BTreeSet<String> {
            name.stem.iter().filter(|word| !is_number(word)).cloned().collect()
        };
        self.latest && !self.stem.iter().any(|word| is_number(&word)) && plain(self) == plain(other)
    }
}

/// `20240806`, `0613`, `002`; and `08` and `2024` of a date that is written in parts.
fn is_date(word: &str, behind: &str) -> bool {
    if !word.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    match word.len() {
        3 | 6 | 8 => behind.is_empty(),
        4 => behind.len() <= 4,
        2 => behind.len() <= 4,
        _ => false,
    }
}

/// `us.anthropic.claude-…` without what the cloud puts in front.
fn without_cloud(name: &str) -> &str {
    let mut rest = name;
    for parts in [REGIONS, MAKERS] {
        if let Some((part, behind)) = rest.split_once('.')
            && parts.contains(&part)
        {
            rest = behind;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs as they are met: what was asked, and the name in the answer.
    #[rustfmt::skip]
    const PAIRS: &[(&str, &str, bool)] = &[
        // asked                              answered                                     the same
        ("gpt-4o",                            "gpt-4o-2024-08-06",                         true),
        ("gpt-4",                             "gpt-4-0613",                                true),
        ("gpt-5-mini",                        "gpt-5-mini-2025-08-07",                     true),
        ("o1",                                "o1-2024-12-17",                             true),
        ("claude-3-5-haiku-latest",           "claude-3-5-haiku-20241022",                 true),
        ("claude-sonnet-4-5",                 "claude-sonnet-4-5-20250929",                true),
        ("claude-opus-4-0",                   "claude-opus-4-20250514",                    true),
        ("anthropic/claude-3.5-sonnet",       "claude-3-5-sonnet-20241022",                true),
        ("anthropic/claude-sonnet-4.5",       "anthropic/claude-4.5-sonnet-20250929",      true),
        ("anthropic/claude-3.7-sonnet:thinking", "anthropic/claude-3.7-sonnet",            true),
        ("deepseek/deepseek-r1:free",         "deepseek/deepseek-r1",                      true),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-20250514",         true),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307",              true),
        ("claude-3-5-sonnet@20240620",        "claude-3-5-sonnet-20240620",                true),
        ("gemini-2.5-pro",                    "models/gemini-2.5-pro",                     true),
        ("gemini-1.5-pro",                    "gemini-1.5-pro-002",                        true),
        ("gemini-2.5-pro-preview",            "gemini-2.5-pro-preview-05-06",              true),
        ("gemini-flash-latest",               "gemini-2.5-flash-preview-09-2025",          true),
        ("mistral-large-latest",              "mistral-large-2411",                        true),
        ("grok-4",                            "grok-4-0709",                               true),
        ("kimi-k2",                           "moonshotai/Kimi-K2-0905-Preview",           true),
        ("qwen3",                             "qwen3:latest",                              true),
        ("qwen3:8b",                          "qwen3:8b",                                  true),
        ("qwen3:8b",                          "qwen3",                                     true),
        ("Llama-3.3-70B-Instruct",            "accounts/fireworks/models/llama-3.3-70b-instruct", true),
        ("qwen2.5-7b-instruct",               "Qwen2.5-7B-Instruct.gguf",                  true),
        ("glm-4.6",                           "GLM-4.6",                                   true),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "ft:gpt-4o-mini-2024-07-18:acme::x",         true),
        // Others.
        ("gpt-5",                             "gpt-5-mini-2025-08-07",                     false),
        ("gpt-5-mini",                        "gpt-5",                                     false),
        ("gpt-4",                             "gpt-4-turbo-2024-04-09",                    false),
        ("gpt-4",                             "gpt-4.1",                                   false),
        ("gpt-4o-2024-05-13",                 "gpt-4o-2024-08-06",                         false),
        ("claude-sonnet-4",                   "claude-sonnet-4-5-20250929",                false),
        ("claude-opus-4-5",                   "claude-haiku-4-5",                          false),
        ("claude-3-5-haiku-latest",           "claude-3-7-haiku-20260101",                 false),
        ("gemini-flash-latest",               "gemini-2.5-pro",                            false),
        ("gemini-2.5-pro",                    "gemini-2.5-flash",                          false),
        ("gemini-2.5-flash",                  "gemini-2.5-flash-lite",                     false),
        ("qwen3:8b",                          "qwen3:4b",                                  false),
        ("llama-3.1-70b",                     "llama-3.1-8b",                              false),
        ("llama-3.1-70b",                     "llama-3.3-70b",                             false),
        ("deepseek-chat",                     "deepseek-reasoner",                         false),
        ("big",                               "small",                                     false),
        ("m",                                 "2024",                                      false),
    ];

    #[test]
    fn names_of_one_model_and_of_two() {
        for (asked, answered, expected) in PAIRS {
            assert_eq!(is_same(asked, answered), *expected, "{asked}, {answered}");
            assert_eq!(is_same(answered, asked), *expected, "{answered}, {asked}");
        }
    }

    #[test]
    fn another_name_may_be_accepted() {
        let mut limits = Limits::default();
        let accept = |name: &str| vec![name.to_owned()];
        limits.answers_as.insert("azure/prod".to_owned(), accept("gpt-4o"));
        limits.answers_as.insert("local/any".to_owned(), accept("*"));
        #[rustfmt::skip]
        let table = [
            ("work/m#team",                "M",                 Named::Same),
            ("work/m",                     "",                  Named::Same),
            ("work/big",                   "small",             Named::Other),
            ("azure/prod",                 "gpt-4o-2024-08-06", Named::Accepted),
            ("azure/prod#eu",              "gpt-4o",            Named::Accepted),
            ("azure/prod",                 "gpt-4o-mini",       Named::Other),
            ("local/any",                  "whatever.gguf",     Named::Accepted),
            ("openrouter/openrouter/auto", "openai/gpt-5",      Named::Accepted),
        ];
        for (target, answered, expected) in table {
            assert_eq!(of(&limits, target, answered), expected, "{target}, {answered}");
        }
    }
}
