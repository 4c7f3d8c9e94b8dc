//! Prompt caching as the providers do it: a prefix is read from the cache only if the same bytes
//! were written to it before.
//!
//! Anthropic caches up to breakpoints that the request sets. A breakpoint also finds what was
//! written up to [`LOOKBACK`] blocks before it, so a conversation that moves its breakpoint along
//! still reads its past. OpenAI and Google cache by themselves, in steps of 128 tokens.
//!
//! # Invariants
//!
//! - The counts of a request add up to its prompt: input + read + written.
//! - One changed byte ends the match there.
//! - Nothing is shared between models or api keys.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::digest::Chain;
use crate::wire::{Block, Lifetime, Wire, tokens};

/// Blocks before a breakpoint in which a written prefix is found, as the provider documents.
const LOOKBACK: usize = 20;

/// Tokens of a step of those that cache by themselves.
const STEP_TOKENS: usize = 128;

/// Most prefixes kept; the oldest go first. 100 bytes each.
const PREFIXES_MAX: usize = 500_000;

/// Tokens of one answer. The four kinds of prompt tokens do not overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub output: u64,
    /// The part of the output that was thinking.
    pub reasoning: u64,
}

impl Usage {
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m + self.cache_write_1h
    }

    pub fn prompt(&self) -> u64 {
        self.input + self.cache_read + self.cache_write()
    }
}

/// Which prefixes have been seen.
#[derive(Debug)]
pub struct Cache {
    /// Prefixes below this are not cached.
    min_tokens: u64,
    /// When each prefix ends to be usable, in ms.
    prefixes: HashMap<String, u64>,
    oldest: VecDeque<String>,
}

/// One boundary between blocks: the digest and tokens of all before it.
struct Boundary {
    digest: String,
    tokens: u64,
    mark: Option<Lifetime>,
}

impl Cache {
    pub fn new(min_tokens: u64) -> Cache {
        Cache { min_tokens, prefixes: HashMap::new(), oldest: VecDeque::new() }
    }

    /// Counts the prompt of one request, and remembers what it has written. `owner` names model
    /// and api key.
    pub fn account(&mut self, wire: Wire, owner: &str, blocks: &[Block], now_ms: u64) -> Usage {
        match wire {
            Wire::Anthropic => self.by_breakpoint(owner, blocks, now_ms),
            _ => self.by_step(owner, blocks, now_ms),
        }
    }

    fn by_breakpoint(&mut self, owner: &str, blocks: &[Block], now_ms: u64) -> Usage {
        let mut chain = Chain::default();
        chain.push(owner);
        let mut bytes = 0;
        let boundaries: Vec<Boundary> = blocks
            .iter()
            .map(|block| {
                chain.push(&block.bytes);
                bytes += block.bytes.len();
                Boundary { digest: chain.so_far(), tokens: tokens(bytes), mark: block.mark }
            })
            .collect();
        let marked = || boundaries.iter().enumerate().filter(|(_, b)| b.mark.is_some());
        let mut read = 0;
        for (at, boundary) in marked() {
            let near = boundaries[at.saturating_sub(LOOKBACK)..=at].iter().rev();
            let mut known = near.filter(|b| self.is_live(&b.digest, now_ms));
            if let Some(found) = known.next() {
                read = read.max(found.tokens);
                // A use renews what was found, for the time that this breakpoint asks for.
                let life = life_ms(boundary.mark);
                self.remember(found.digest.clone(), now_ms + life);
            }
        }
        let mut usage = Usage { cache_read: read, ..Usage::default() };
        let mut cached = read;
        for (_, boundary) in marked().filter(|(_, b)| b.tokens >= self.min_tokens) {
            if boundary.tokens > cached {
                match boundary.mark {
                    Some(Lifetime::Hour1) => usage.cache_write_1h += boundary.tokens - cached,
                    _ => usage.cache_write_5m += boundary.tokens - cached,
                }
                cached = boundary.tokens;
            }
        }
        let written: Vec<_> = marked()
            .filter(|(_, b)| b.tokens >= self.min_tokens)
            .map(|(_, b)| (b.digest.clone(), now_ms + life_ms(b.mark)))
            .collect();
        written.into_iter().for_each(|(digest, until)| self.remember(digest, until));
        usage.input = tokens(bytes) - cached;
        usage
    }

    fn by_step(&mut self, owner: &str, blocks: &[Block], now_ms: u64) -> Usage {
        let text: String = blocks.iter().map(|block| block.bytes.as_str()).collect();
        let mut chain = Chain::default();
        chain.push(owner);
        let mut read = 0;
        let mut unbroken = true;
        let until = now_ms + life_ms(None);
        for (step, chunk) in text.as_bytes().chunks_exact(STEP_TOKENS * 4).enumerate() {
            chain.push_raw(chunk);
            let prefix = ((step + 1) * STEP_TOKENS) as u64;
            if prefix < self.min_tokens {
                continue;
            }
            let digest = chain.so_far();
            unbroken &= self.is_live(&digest, now_ms);
            if unbroken {
                read = prefix;
            }
            self.remember(digest, until);
        }
        Usage { input: tokens(text.len()) - read, cache_read: read, ..Usage::default() }
    }

    fn is_live(&self, digest: &str, now_ms: u64) -> bool {
        self.prefixes.get(digest).is_some_and(|until| *until > now_ms)
    }

    fn remember(&mut self, digest: String, until: u64) {
        if let Some(known) = self.prefixes.get_mut(&digest) {
            *known = until.max(*known);
            return;
        }
        if self.prefixes.len() >= PREFIXES_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.prefixes.remove(&oldest);
        }
        self.oldest.push_back(digest.clone());
        self.prefixes.insert(digest, until);
    }
}

fn life_ms(mark: Option<Lifetime>) -> u64 {
    match mark {
        Some(Lifetime::Hour1) => 60 * 60_000,
        _ => 5 * 60_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Vec<Block> {
        // `a4 b8!` is a block of 4 bytes and one of 8 with a breakpoint.
        let block = |word: &str| {
            let mark = word.ends_with('!').then_some(Lifetime::Minutes5);
            let size: usize = word.trim_end_matches('!')[1..].parse().unwrap();
            Block { bytes: word[..1].repeat(size), mark }
        };
        text.split(' ').map(block).collect()
    }

    /// `input`, `read`, `written` of each request in turn.
    fn counts(wire: Wire, requests: &[(&str, &str, u64)]) -> Vec<(u64, u64, u64)> {
        let mut cache = Cache::new(if wire == Wire::Openai { 256 } else { 2 });
        let count = |(owner, text, now): &(&str, &str, u64)| {
            let usage = cache.account(wire, owner, &blocks(text), *now);
            (usage.input, usage.cache_read, usage.cache_write())
        };
        requests.iter().map(count).collect()
    }

    #[test]
    fn anthropic_reads_what_was_written_up_to_a_breakpoint() {
        #[rustfmt::skip]
        let table = [
            // owner, request,                at ms     input, read, written
            (("k", "a8! b8 c8!",              0),       (0, 0, 6)),
            (("k", "a8! b8 c8!",              1),       (0, 6, 0)),
            // The breakpoint moves along, and finds what it wrote before.
            (("k", "a8! b8 c8 d8 e8! f4",     2),       (1, 6, 4)),
            // A changed block ends the match; the part before it is still read.
            (("k", "a8! x8 c8!",              3),       (0, 2, 4)),
            (("k", "x8! b8 c8!",              4),       (0, 0, 6)),
            // No breakpoint, no cache.
            (("k", "a8 b8 c8",                5),       (6, 0, 0)),
            // Too short to be cached.
            (("k", "q4! r8",                  6),       (3, 0, 0)),
            (("other", "a8! b8 c8!",          7),       (0, 0, 6)),
            // Five minutes after its last use a prefix is gone.
            (("k", "a8! b8 c8!",              300_002), (0, 2, 4)),
            (("k", "a8! b8 c8!",              900_002), (0, 0, 6)),
        ];
        let requests: Vec<_> = table.iter().map(|(request, _)| *request).collect();
        let expected: Vec<_> = table.iter().map(|(_, counts)| *counts).collect();
        assert_eq!(counts(Wire::Anthropic, &requests), expected);
    }

    #[test]
    fn a_breakpoint_does_not_look_back_for_ever() {
        let far = |blocks: usize| format!("a8! {}b8!", "c4 ".repeat(blocks));
        for (between, read) in [(19, 2), (20, 0)] {
            let text = far(between).replacen("a8!", "a8", 1);
            let got = counts(Wire::Anthropic, &[("k", "a8!", 0), ("k", &text, 1)]);
            assert_eq!(got[1].1, read, "{between} blocks between");
        }
    }

    #[test]
    fn openai_reads_in_steps_of_128_tokens() {
        #[rustfmt::skip]
        let table = [
            // owner, request,      at ms   input, read, written
            (("k", "a400 b2000",    0),     (600, 0, 0)),
            (("k", "a400 b2000",    1),     (88, 512, 0)),
            (("k", "a400 b2000 c4", 2),     (89, 512, 0)),
            (("k", "a400 b1200 c900", 3),   (241, 384, 0)),
            (("k", "a1000",         4),     (250, 0, 0)),
            (("k", "a1000",         5),     (250, 0, 0)),
            (("o", "a400 b2000",    6),     (600, 0, 0)),
        ];
        let requests: Vec<_> = table.iter().map(|(request, _)| *request).collect();
        let expected: Vec<_> = table.iter().map(|(_, counts)| *counts).collect();
        assert_eq!(counts(Wire::Openai, &requests), expected);
    }
}
