//! Keeps the head and the tail of more bytes than a result may hold, in constant memory.

use types::excerpt::{MARK_BYTES_MAX, mark};

/// The first and the last bytes of a stream.
#[derive(Clone, Debug)]
pub(crate) struct HeadTail {
    half: usize,
    head: Vec<u8>,
    /// At most twice `half`, so that bytes are moved once per `half` and not on every push.
    tail: Vec<u8>,
    total: u64,
}

impl HeadTail {
    /// Keeps what renders to at most `bytes_max` bytes, the mark included.
    pub(crate) fn new(bytes_max: usize) -> HeadTail {
        let half = bytes_max.saturating_sub(MARK_BYTES_MAX) / 2;
        HeadTail { half, head: Vec::new(), tail: Vec::new(), total: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (self.half - self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        if rest.len() >= self.half {
            self.tail.clear();
            self.tail.extend_from_slice(&rest[rest.len() - self.half..]);
            return;
        }
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * self.half {
            self.tail.drain(..self.tail.len() - self.half);
        }
    }

    /// Returns the text, with a line in the middle that says how many bytes are missing.
    /// Bytes that are not UTF-8 are replaced, which can make the text longer.
    pub(crate) fn into_text(self) -> String {
        String::from_utf8_lossy(&self.into_bytes()).into_owned()
    }

    /// As [`HeadTail::into_text`], before it is text.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let HeadTail { half, mut head, tail, total } = self;
        let tail = &tail[tail.len() - tail.len().min(half)..];
        if total == (head.len() + tail.len()) as u64 {
            head.extend_from_slice(tail);
            return head;
        }
        let tail = without_cut_start(tail);
        head.truncate(without_cut_end(&head).len());
        let cut = total - (head.len() + tail.len()) as u64;
        let mark = mark(cut, head.len() as u64, None);
        head.extend_from_slice(format!("\n{mark}\n").as_bytes());
        head.extend_from_slice(tail);
        head
    }
}

/// Leaves out the start of a character whose rest was cut away.
fn without_cut_end(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// Leaves out the end of a character whose start was cut away.
fn without_cut_start(bytes: &[u8]) -> &[u8] {
    let continuation = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    &bytes[bytes.iter().take(3).take_while(continuation).count()..]
}

/// Returns `text`, or its head and tail if it is longer than `bytes_max`.
pub(crate) fn cut(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let mut kept = HeadTail::new(bytes_max);
    kept.push(text.as_bytes());
    kept.into_text()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_how_much_is_missing() {
        let mut kept = HeadTail::new(MARK_BYTES_MAX + 8);
        for chunk in ["ab", "cdef", "ghijkl", "m"] {
            kept.push(chunk.as_bytes());
        }
        assert_eq!(kept.into_text(), "abcd\n[5 bytes cut here]\njklm");
    }

    #[test]
    fn small_pieces_do_not_pile_up() {
        let mut kept = HeadTail::new(MARK_BYTES_MAX + 200);
        for _ in 0..10_000 {
            kept.push(b"seven..");
            assert!(kept.head.len() <= 100 && kept.tail.len() <= 200);
        }
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        // Three bytes each: four bytes of head hold one, and so do four of tail.
        let text = cut("€".repeat(100), MARK_BYTES_MAX + 8);
        assert_eq!(text, "€\n[294 bytes cut here]\n€");
    }

    proptest! {
        #[test]
        fn cut_text_is_within_its_bound_and_keeps_both_ends(
            text in "[aé€😀\n]{0,300}",
            bytes_max in MARK_BYTES_MAX..700,
        ) {
            let short = cut(text.clone(), bytes_max);
            prop_assert!(short.len() <= bytes_max.max(text.len().min(bytes_max)));
            match short.split_once("\n[") {
                None => prop_assert_eq!(short, text),
                Some((head, rest)) => {
                    let (mark, tail) = rest.split_once("]\n").unwrap();
                    prop_assert!(text.starts_with(head) && text.ends_with(tail));
                    let missing = text.len() - head.len() - tail.len();
                    prop_assert_eq!(mark, format!("{missing} bytes cut here"));
                }
            }
        }

        #[test]
        fn how_the_bytes_arrive_does_not_matter(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            bytes_max in 0_usize..200,
        ) {
            let mut pieces = HeadTail::new(bytes_max);
            chunks.iter().for_each(|chunk| pieces.push(chunk));
            let mut whole = HeadTail::new(bytes_max);
            whole.push(&chunks.concat());
            prop_assert_eq!(pieces.into_text(), whole.into_text());
        }
    }
}
