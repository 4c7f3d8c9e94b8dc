//! Which blocks of an answer go back to the API that gave them.
//!
//! A model may end with a blank text, or with a thought and nothing after it. The API gives such
//! answers and refuses them in a request; it would refuse the session's every later turn.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An answer, as it goes back.
#[derive(Debug)]
pub(crate) enum Kept<'a> {
    /// Byte for byte.
    Whole(&'a RawValue),
    /// These blocks of it, each byte for byte.
    Part(Vec<&'a RawValue>),
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
}

impl Head<'_> {
    fn is_blank(&self) -> bool {
        self.kind == "text" && self.text.as_ref().is_none_or(|text| text.trim().is_empty())
    }

    fn is_thought(&self) -> bool {
        matches!(&*self.kind, "thinking" | "redacted_thinking")
    }
}

/// Leaves out what the API would refuse: blank texts, and thoughts that nothing comes after. What
/// cannot be read is left as it is.
pub(crate) fn kept(raw: &RawValue) -> Kept<'_> {
    let Ok(blocks) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Kept::Whole(raw);
    };
    let heads = blocks.iter().map(|block| serde_json::from_str(block.get()));
    let Ok(heads) = heads.collect::<Result<Vec<Head<'_>>, _>>() else { return Kept::Whole(raw) };
    let all = blocks.len();
    let spoken = blocks.into_iter().zip(&heads).filter(|(_, head)| !head.is_blank());
    let mut kept: Vec<_> = spoken.collect();
    while kept.last().is_some_and(|(_, head)| head.is_thought()) {
        kept.pop();
    }
    if kept.len() == all && all > 0 {
        return Kept::Whole(raw);
    }
    Kept::Part(kept.into_iter().map(|(block, _)| block).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_would_refuse_is_left_out() {
        let thought = r#"{"type":"thinking","thinking":"x","signature":"a"}"#;
        let sealed = r#"{"type":"redacted_thinking","data":"x"}"#;
        let blank = r#"{"type":"text","text":" \n"}"#;
        let words = r#"{ "type":"text", "text":"w\u00f6rds" }"#;
        let call = r#"{"type":"tool_use","id":"t","name":"exec","input":{"b": 1.0e3}}"#;
        #[rustfmt::skip]
        let table: [(&[&str], &[&str]); 9] = [
            (&[],                       &[]),
            (&[blank],                  &[]),
            (&[thought],                &[]),
            (&[thought, sealed, blank], &[]),
            (&[words, thought],         &[words]),
            (&[thought, blank, call],   &[thought, call]),
            (&[blank, words],           &[words]),
            (&[thought, words],         &[thought, words]),
            (&[thought, call],          &[thought, call]),
        ];
        for (blocks, expected) in table {
            let raw = RawValue::from_string(format!("[{}]", blocks.join(" , "))).unwrap();
            match kept(&raw) {
                Kept::Whole(whole) => {
                    assert_eq!((whole.get(), blocks), (raw.get(), expected));
                }
                Kept::Part(part) => {
                    let part: Vec<&str> = part.into_iter().map(RawValue::get).collect();
                    assert_eq!(part, expected, "{blocks:?}");
                }
            }
        }
        let odd = RawValue::from_string(r#"[{"no":"type"}]"#.to_owned()).unwrap();
        assert!(matches!(kept(&odd), Kept::Whole(_)));
    }
}
