//! Texts that are too long to be carried whole: their two ends, and between them the mark that
//! says what is missing and how to read it.
//!
//! Everybody who cuts a text cuts it here, so that a model has one mark to know.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::hash::ParseHashError;
use crate::{Hash, serde_as_str};

/// The tool that pages a text that is kept whole.
pub const READER: &str = "result_read";

/// Room for the longest mark.
pub const MARK_BYTES_MAX: usize = 224;

/// Names a text that is kept whole: `blob:` and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(Hash);

impl BlobId {
    const PREFIX: &str = "blob:";

    /// The id of a text with these bytes.
    pub fn of(text: impl AsRef<[u8]>) -> BlobId {
        BlobId(Hash::of(text))
    }

    pub fn hash(self) -> Hash {
        self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", BlobId::PREFIX, self.0)
    }
}

impl FromStr for BlobId {
    type Err = ParseBlobIdError;

    /// Reads `blob:<hash>`, or the hash alone: models leave the word out.
    fn from_str(text: &str) -> Result<BlobId, ParseBlobIdError> {
        let hash = text.strip_prefix(BlobId::PREFIX).unwrap_or(text);
        hash.parse().map(BlobId).map_err(|source| ParseBlobIdError { source })
    }
}

serde_as_str!(BlobId);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id as it stands in the mark of a cut text, `blob:<hash>`: {source}")]
pub struct ParseBlobIdError {
    source: ParseHashError,
}

/// The mark in the place of `cut` bytes, which begin after `from`. With `whole`, whoever reads it
/// has the tool that reads on.
pub fn mark(cut: u64, from: u64, whole: Option<BlobId>) -> String {
    match whole {
        None => format!("[{cut} bytes cut here]"),
        Some(id) => format!(
            "[{cut} bytes cut here, from byte {from} on; read them with {READER}, id \"{id}\"]"
        ),
    }
}

/// Returns `text`, or its head and its tail with a mark between, together no longer than
/// `bytes_max`, if that has room for a mark.
pub fn cut(text: &str, bytes_max: usize, whole: Option<BlobId>) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let half = bytes_max.saturating_sub(MARK_BYTES_MAX) / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    let missing = (text.len() - head.len() - tail.len()) as u64;
    Cow::Owned(format!("{head}\n{}\n{tail}", mark(missing, head.len() as u64, whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_stay_and_the_mark_says_what_does_not() {
        assert_eq!(cut("short", 5, None), "short");
        let text = format!("{}{}{}", "a".repeat(300), "€".repeat(100), "z".repeat(300));
        let short = cut(&text, MARK_BYTES_MAX + 8, None);
        assert_eq!(short, "aaaa\n[892 bytes cut here]\nzzzz");

        let id = BlobId::of(&text);
        let short = cut(&text, MARK_BYTES_MAX + 602, Some(id));
        let mark = format!(
            "[300 bytes cut here, from byte 300 on; read them with result_read, id \"{id}\"]"
        );
        // A character is not cut in two.
        assert_eq!(short, format!("{}\n{mark}\n{}", "a".repeat(300), &text[600..]));
    }

    #[test]
    fn the_longest_mark_has_room() {
        let mark = mark(u64::MAX, u64::MAX, Some(BlobId::of("")));
        assert!(mark.len() + 2 <= MARK_BYTES_MAX, "{}", mark.len());
    }

    #[test]
    fn an_id_is_read_with_and_without_its_word() {
        let id = BlobId::of("text");
        assert_eq!(id.to_string().parse::<BlobId>(), Ok(id));
        assert_eq!(id.hash().to_string().parse::<BlobId>(), Ok(id));
        let error = "blob:xyz".parse::<BlobId>().unwrap_err().to_string();
        assert!(error.contains("`blob:<hash>`") && error.contains("`xyz`"), "{error}");
    }
}
