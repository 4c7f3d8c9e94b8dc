//! Prompts that are too long: how each provider says so, and the numbers that it names. Pure.

use serde_json::Value;
use types::Overflow;

/// Codes of a refusal that mean it.
pub(crate) const CODES: &[&str] = &[
    "context_length_exceeded",
    "request_too_large",
    "exceed_context_size",
    "string_above_max",
    "prompt_too_long",
];

/// Words that mean it, in lower case: of Anthropic, OpenAI and vLLM, llama.cpp, Google, xAI,
/// DashScope, Z.ai, Bedrock, Groq, Cohere, Together, LM Studio, in this order.
pub(crate) const WORDS: &[&str] = &[
    "prompt is too long",
    "exceed context limit",
    "maximum context length",
    "context size",
    "context window",
    "context length",
    "input token count",
    "too many tokens in the prompt",
    "maximum prompt length",
    "range of input length should be",
    "prompt exceeds max length",
    "input is too long",
    "reduce the length of the messages",
    "too many tokens: ",
    "tokens + `max_new_tokens` must be",
    "context the overflows",
];

/// Where the number stands that says how long the prompt was: behind these words.
const SENT_BEHIND: &[&str] = &[
    "prompt is too long: ",
    "exceed context limit: ",
    "input token count (",
    "request (",
    "request contains ",
    "prompt contains ",
    "your request has ",
    "keep the first ",
    "received ",
    "given: ",
];

/// Or before these.
const SENT_BEFORE: &[&str] = &[" in the messages", " of text input"];

const WINDOW_BEHIND: &[&str] = &[
    "maximum context length is ",
    "maximum number of tokens allowed (",
    "context size (",
    "maximum prompt length is ",
    "should be [1, ",
    "context length of only ",
    "must be <= ",
    "cannot exceed ",
    "too large for model with ",
    " > ",
];

/// Reads the numbers of a refusal. What it does not name is left open.
pub(crate) fn told(error: &Value, message: &str) -> Overflow {
    let message = message.to_lowercase();
    let field = |name: &str| error.get(name).and_then(Value::as_u64);
    let behind = |words: &[&str]| words.iter().find_map(|words| number_behind(&message, words));
    let before = |words: &[&str]| words.iter().find_map(|words| number_before(&message, words));
    Overflow {
        // llama.cpp has fields for them.
        sent: field("n_prompt_tokens")
            .or_else(|| behind(SENT_BEHIND))
            .or_else(|| before(SENT_BEFORE)),
        window: field("n_ctx").or_else(|| behind(WINDOW_BEHIND)),
    }
}

fn number_behind(text: &str, words: &str) -> Option<u64> {
    let rest = &text[text.find(words)? + words.len()..];
    let rest = rest.strip_prefix("about ").unwrap_or(rest);
    digits(rest.split(|c: char| !is_digit(c)).next()?)
}

fn number_before(text: &str, words: &str) -> Option<u64> {
    let before = &text[..text.find(words)?];
    digits(before.rsplit(|c: char| !is_digit(c)).next()?)
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || c == ','
}

fn digits(text: &str) -> Option<u64> {
    text.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As they are said: by Anthropic (twice), OpenAI, vLLM, OpenRouter, Google, llama.cpp, xAI,
    /// DashScope, Mistral, Together, Cohere, LM Studio; and without numbers.
    #[test]
    fn the_numbers_that_are_told() {
        #[rustfmt::skip]
        let table = [
            ("prompt is too long: 210000 tokens > 200000 maximum", Some(210_000), Some(200_000)),
            ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease \
              input length or `max_tokens` and try again", Some(190_000), Some(200_000)),
            ("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens \
              (8000 in the messages, 1000 in the completion).", Some(8_000), Some(8_192)),
            ("This model's maximum context length is 4096 tokens. However, your request has 5000 \
              input tokens.", Some(5_000), Some(4_096)),
            ("This endpoint's maximum context length is 131072 tokens. However, you requested about \
              150000 tokens (140000 of text input, 10000 in the output).", Some(140_000), Some(131_072)),
            ("The input token count (1,100,000) exceeds the maximum number of tokens allowed \
              (1048576).", Some(1_100_000), Some(1_048_576)),
            ("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing \
              it", Some(5_000), Some(4_096)),
            ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
             Some(537_812), Some(131_072)),
            ("Range of input length should be [1, 30720]", None, Some(30_720)),
            ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum \
              context length", Some(40_000), Some(32_768)),
            ("`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 100 \
              `max_new_tokens`", Some(9_000), Some(8_193)),
            ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received \
              5000.", Some(5_000), Some(4_081)),
            ("Trying to keep the first 5000 tokens when context the overflows. However, the model is \
              loaded with context length of only 4096 tokens", Some(5_000), Some(4_096)),
            ("Your input exceeds the context window of this model.", None, None),
            ("Input is too long for requested model.", None, None),
        ];
        for (message, sent, window) in table {
            assert_eq!(told(&Value::Null, message), Overflow { sent, window }, "{message}");
            let message = message.to_lowercase();
            assert!(WORDS.iter().any(|words| message.contains(words)), "{message}");
        }
        let fields = json!({"n_prompt_tokens": 12, "n_ctx": 8, "message": "too long"});
        assert_eq!(told(&fields, "too long"), Overflow { sent: Some(12), window: Some(8) });
    }
}
