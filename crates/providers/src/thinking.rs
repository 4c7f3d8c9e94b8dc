//! Levels of thinking, as each wire and model says them.
//!
//! A level is a wish: a model has its own steps, and gets the nearest. One that is not known to
//! think is not told of it here; the configuration decides who is asked (`machine::failover`).

use types::{Thinking, Wire};

/// Is a model known to take a level of thinking? Its name tells, and what nobody knows does not.
pub fn is_known(wire: Wire, model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model).to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match wire {
        Wire::AnthropicMessages => claude(&name).is_some_and(|version| version >= (3, 7)),
        Wire::GoogleGenerativeAi => has(&["gemini-2.5", "gemini-3"]),
        Wire::OpenaiResponses | Wire::OpenaiCompletions => {
            let begins = |parts: &[&str]| parts.iter().any(|part| name.starts_with(part));
            let thinks = begins(&["o1", "o3", "o4", "gpt-5", "gpt-oss", "codex", "qwen3", "qwq"]);
            let others = has(&["deepseek-r1", "glm-4.5", "glm-4.6", "grok-4", "gemini-2.5"]);
            let claude = claude(&name).is_some_and(|version| version >= (3, 7));
            (thinks || others || claude) && !name.contains("-chat")
        }
        Wire::Scripted => false,
    }
}

/// Is it one of OpenAI's that always reason, and refuse to be told how to draw?
pub(crate) fn is_openai_reasoner(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let families = ["o1", "o3", "o4", "gpt-5", "codex"];
    families.iter().any(|family| name.starts_with(family)) && !name.contains("-chat")
}

/// The version of a Claude: `claude-opus-4-6` and `claude-3-7-sonnet-20250219` alike.
pub(crate) fn claude(name: &str) -> Option<(u32, u32)> {
    let rest = name.split_once("claude-")?.1;
    // A date is no part of it.
    let numbers = rest.split(['-', '.']).filter_map(|part| part.parse::<u32>().ok());
    let mut numbers = numbers.filter(|n| *n < 1_000);
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

/// Tokens that a level may take of an answer's `max`; none if so short an answer has no room. The
/// least that providers take is 1,024, and as much is left for the words.
pub(crate) fn budget(level: Thinking, max: u32) -> Option<u32> {
    let percent = match level {
        Thinking::Off => return None,
        Thinking::Minimal => 10,
        Thinking::Low => 20,
        Thinking::Medium => 40,
        Thinking::High => 60,
        Thinking::Xhigh => 75,
        Thinking::Max => 90,
    };
    let share = u64::from(max) * percent / 100;
    let share = u32::try_from(share).unwrap_or(u32::MAX).max(BUDGET_MIN);
    let most = max.saturating_sub(BUDGET_MIN);
    (most >= BUDGET_MIN).then_some(share.min(most))
}

const BUDGET_MIN: u32 = 1_024;

/// OpenAI's word for a level. The newest models have a step above `high`, and can be told not to
/// think at all.
pub(crate) fn effort(level: Thinking, model: &str) -> Option<&'static str> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let newest = ["gpt-5.2", "gpt-5.3", "gpt-5.4", "gpt-5.5"];
    let newest = newest.iter().any(|part| name.starts_with(part)) || name.contains("codex-max");
    let minimal = name.starts_with("gpt-5") && !name.starts_with("gpt-5.");
    match level {
        Thinking::Off if newest || name.starts_with("gpt-5.1") => Some("none"),
        Thinking::Off if minimal => Some("minimal"),
        Thinking::Off => None,
        Thinking::Minimal if minimal => Some("minimal"),
        Thinking::Minimal | Thinking::Low => Some("low"),
        Thinking::Medium => Some("medium"),
        Thinking::High => Some("high"),
        Thinking::Xhigh | Thinking::Max if newest => Some("xhigh"),
        Thinking::Xhigh | Thinking::Max => Some("high"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_known_to_think() {
        use Wire::*;
        #[rustfmt::skip]
        let table = [
            (AnthropicMessages,  "claude-3-5-haiku-latest",     false),
            (AnthropicMessages,  "claude-3-7-sonnet-20250219",  true),
            (AnthropicMessages,  "claude-opus-4-20250514",      true),
            (AnthropicMessages,  "claude-sonnet-4-5",           true),
            (AnthropicMessages,  "glm-4.6",                     false),
            (OpenaiCompletions,  "gpt-5-mini",                  true),
            (OpenaiCompletions,  "gpt-5-chat-latest",           false),
            (OpenaiCompletions,  "gpt-4o",                      false),
            (OpenaiCompletions,  "anthropic/claude-sonnet-4.5", true),
            (OpenaiCompletions,  "qwen3:8b",                    true),
            (OpenaiResponses,    "o4-mini",                     true),
            (GoogleGenerativeAi, "gemini-2.5-pro",              true),
            (GoogleGenerativeAi, "gemini-2.0-flash",            false),
        ];
        for (wire, model, known) in table {
            assert_eq!(is_known(wire, model), known, "{wire} {model}");
        }
    }

    #[test]
    fn a_budget_leaves_room_for_words() {
        #[rustfmt::skip]
        let table = [
            (Thinking::Off,     8_192,  None),
            (Thinking::Minimal, 8_192,  Some(1_024)),
            (Thinking::Medium,  8_192,  Some(3_276)),
            (Thinking::Max,     8_192,  Some(7_168)),
            (Thinking::High,    64_000, Some(38_400)),
            (Thinking::Max,     2_048,  Some(1_024)),
            (Thinking::Max,     2_047,  None),
        ];
        for (level, max, tokens) in table {
            assert_eq!(budget(level, max), tokens, "{level} of {max}");
        }
    }

    #[test]
    fn efforts_are_those_that_the_model_has() {
        #[rustfmt::skip]
        let table = [
            (Thinking::Off,     "gpt-5.2",           Some("none")),
            (Thinking::Off,     "gpt-5-mini",        Some("minimal")),
            (Thinking::Off,     "o3",                None),
            (Thinking::Minimal, "o3",                Some("low")),
            (Thinking::Max,     "gpt-5-mini",        Some("high")),
            (Thinking::Xhigh,   "gpt-5.1-codex-max", Some("xhigh")),
        ];
        for (level, model, word) in table {
            assert_eq!(effort(level, model), word, "{level} of {model}");
        }
    }
}
