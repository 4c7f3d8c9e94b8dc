//! `agents.defaults.compaction`: when a conversation is made smaller, and what stays of it.

use serde::Serialize;

use super::section::Section;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compaction {
    /// Before a provider has refused a request as too long. Then, and when it is asked for, a
    /// conversation is compacted in any case.
    pub enabled: bool,
    /// Ours: how much of the room for a prompt may be filled.
    pub soft_ratio: f64,
    pub keep_recent_tokens: u64,
    pub memory_flush: MemoryFlush,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryFlush {
    /// Are notes taken first?
    pub enabled: bool,
}

const RATIO: &str = "a number from 0.1 to 0.95";

fn ratio(number: f64) -> Option<f64> {
    (0.1..=0.95).contains(&number).then_some(number)
}

impl Compaction {
    pub(super) fn read(s: &mut Section<'_>) -> Compaction {
        Compaction {
            enabled: s.flag("enabled").unwrap_or(true),
            soft_ratio: s.number("softRatio", RATIO, ratio).unwrap_or(0.8),
            keep_recent_tokens: s.integer("keepRecentTokens", 0..=10_000_000).unwrap_or(20_000),
            memory_flush: s.section("memoryFlush", |s| MemoryFlush {
                enabled: s.flag("enabled").unwrap_or(true),
            }),
        }
    }
}
