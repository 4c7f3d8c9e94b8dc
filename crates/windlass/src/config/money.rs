//! `budget`, wherever it stands, and the `cost` of a model: what may be spent, and what it costs.

use serde::Serialize;
use types::{Budget, MicroUsd, Price};

use super::section::Section;

/// `budget` of the whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budgets {
    /// Of the gateway, on each day of UTC.
    pub day: Budget,
    /// Of each agent, on each day of UTC.
    pub agent: Budget,
    /// Of each conversation with all that it has spawned.
    pub tree: Budget,
}

impl Budgets {
    pub(super) fn read(s: &mut Section<'_>) -> Budgets {
        Budgets { day: budget(s, "day"), agent: budget(s, "agent"), tree: budget(s, "tree") }
    }
}

/// Reads a cap; none if nothing is said.
pub(super) fn budget(s: &mut Section<'_>, key: &str) -> Budget {
    s.section(key, |s| {
        let usd = dollars(s, "usd");
        Budget { usd, tokens: s.integer("tokens", 1..=i64::MAX as u64) }
    })
}

/// What one agent says, side by side with what all do.
pub(super) fn or_default(own: Budget, default: Budget) -> Budget {
    Budget { usd: own.usd.or(default.usd), tokens: own.tokens.or(default.tokens) }
}

fn dollars(s: &mut Section<'_>, key: &str) -> Option<MicroUsd> {
    let expected = "US dollars from 0 to 1000000, as in 1.5";
    s.number(key, expected, |usd| MicroUsd::from_usd(usd).ok())
}

/// `cost` of a model, as in OpenClaw: dollars for a million tokens. What the cache costs is the
/// price of input if it is not said.
pub(super) fn cost(s: &mut Section<'_>) -> Option<Price> {
    s.node("cost")?;
    s.section("cost", |s| {
        let (input, output) = (dollars(s, "input"), dollars(s, "output"));
        let (read, write) = (dollars(s, "cacheRead"), dollars(s, "cacheWrite"));
        for (key, value) in [("input", input), ("output", output)] {
            if value.is_none() && s.node(key).is_none() {
                let message = format!("`{key}` is missing: expected dollars for a million tokens");
                s.cx.error(&s.spot(), message);
            }
        }
        let (input, output) = (input?, output?);
        let (cache_read, cache_write) = (read.unwrap_or(input), write.unwrap_or(input));
        Some(Price { input, output, cache_read, cache_write })
    })
}
