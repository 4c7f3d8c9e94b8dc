//! Random numbers of a simulated life: one seed, one stream, nothing from outside.

use machine::At;
use types::{Hash, NodeId, Timestamp};
use uuid::Uuid;

/// A stream of random numbers: the machine's own generator, apart from its use there.
#[derive(Clone, Debug)]
pub struct Rng(At);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(At::new(Timestamp(0), seed, NodeId::new(Uuid::nil())))
    }

    /// A stream that depends on `seed` and on `subject` only, whoever asks for it and when.
    pub fn about(seed: u64, subject: &str) -> Rng {
        let hash = Hash::of(format!("{seed} {subject}")).to_string();
        Rng::new(u64::from_str_radix(&hash[..16], 16).expect("a hash is hexadecimal"))
    }

    pub fn draw(&mut self) -> u64 {
        self.0.random()
    }

    /// Draws from `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    /// Draws from `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// Is true so many times out of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// Picks one of `items`, which has at least one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}
