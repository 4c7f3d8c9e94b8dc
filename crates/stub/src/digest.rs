//! Short names of bytes: what a conversation, a prefix and a key are called in the journal,
//! and the seals that the stub puts on what it says.
//!
//! Nothing here is secret. A seal shows that a gateway returned what it was given, it does not
//! keep anyone out; so the sealing key is a constant, and a restarted stub knows its own seals.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// 128 bits: no two conversations of a test share them by accident.
const DIGEST_BYTES: usize = 16;

/// Returns the name of `bytes`, 32 lowercase hex digits.
pub fn digest(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes.as_ref()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(DIGEST_BYTES).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The digest of a growing list, which can be read after every part.
#[derive(Clone, Debug, Default)]
pub struct Chain(Sha256);

impl Chain {
    pub fn push(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        // The length keeps ["ab", "c"] apart from ["a", "bc"].
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds bytes that are one stream, however they were cut.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn so_far(&self) -> String {
        hex(self.0.clone().finalize().as_ref())
    }
}

/// Seals `parts`: 12 hex digits that change with any of their bytes.
pub fn seal(parts: &[&str]) -> String {
    let mut chain = Chain::default();
    chain.push("windlass-stub seal 1");
    parts.iter().for_each(|part| chain.push(part));
    chain.so_far()[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_depends_on_parts_and_their_borders() {
        let of = |parts: &[&str]| {
            let mut chain = Chain::default();
            parts.iter().for_each(|part| chain.push(part));
            chain.so_far()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", "c"]), of(&["ab"]));
        assert_eq!(of(&[]).len(), 32);
    }
}
