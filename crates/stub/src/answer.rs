//! An answer before a wire gives it its form, and how it is cut into pieces.

use serde_json::Value;

use crate::directive::Stop;
use crate::wire::tokens;

/// Bytes of a streamed piece: four tokens, so that a stream has several frames and a long text
/// does not have too many.
const PIECE_BYTES: usize = 16;

/// What the stub says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub think: Option<String>,
    pub text: String,
    pub calls: Vec<ToolCall>,
    pub stop: Option<Stop>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    pub name: String,
    pub arguments: Value,
    /// Sent as arguments instead of them.
    pub raw: Option<String>,
}

impl ToolCall {
    /// Returns the arguments as the text that goes out.
    pub fn argument_text(&self) -> String {
        self.raw.clone().unwrap_or_else(|| self.arguments.to_string())
    }

    fn tokens(&self) -> u64 {
        tokens(self.name.len() + self.argument_text().len())
    }
}

impl Answer {
    pub fn tokens(&self) -> u64 {
        let calls: u64 = self.calls.iter().map(ToolCall::tokens).sum();
        tokens(self.think.as_deref().map_or(0, str::len)) + tokens(self.text.len()) + calls
    }

    /// Cuts the answer where a model runs into its output limit: words end in the middle, and a
    /// call that does not fit is not made.
    pub fn limited(mut self, limit: Option<u64>) -> Answer {
        let Some(limit) = limit.filter(|limit| self.tokens() > *limit) else { return self };
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(4);
        for text in self.think.iter_mut().chain([&mut self.text]) {
            text.truncate(text.floor_char_boundary(left));
            left = left.saturating_sub(text.len().next_multiple_of(4));
        }
        self.calls.retain(|call| {
            let bytes = call.tokens() as usize * 4;
            let fits = bytes <= left;
            left = if fits { left - bytes } else { 0 };
            fits
        });
        Answer { stop: Some(Stop::Length), ..self }
    }
}

/// Cuts `text` into pieces for a stream, at character boundaries.
pub fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_make_up_the_text() {
        for text in ["", "short", "ä€𝄞 and more than sixteen bytes of ä€𝄞ä€𝄞ä€𝄞ä€𝄞"]
        {
            assert_eq!(pieces(text).concat(), text);
        }
        assert_eq!(pieces(&"x".repeat(40)).len(), 3);
    }

    #[test]
    fn a_limit_cuts_words_and_drops_calls() {
        let call = |name: &str| ToolCall { name: name.to_owned(), arguments: json!({}), raw: None };
        let answer = Answer {
            think: Some("12345678".to_owned()),
            text: "12345678".to_owned(),
            calls: vec![call("ab"), call("cd")],
            stop: None,
        };
        assert_eq!(answer.tokens(), 6);
        assert_eq!(answer.clone().limited(Some(6)), answer);
        let cut = answer.clone().limited(Some(5));
        assert_eq!((cut.calls.len(), cut.stop), (1, Some(Stop::Length)));
        let cut = answer.limited(Some(3));
        assert_eq!((cut.text.as_str(), cut.calls.len()), ("1234", 0));
    }
}
