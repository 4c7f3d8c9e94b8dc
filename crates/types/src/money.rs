//! Money: what a call costs, and what may be spent.
//!
//! Amounts are whole millionths of a US dollar, so that sums are exact.

use std::fmt;
use std::ops::AddAssign;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Usage;

/// A millionth of a US dollar.
const MICRO: f64 = 1_000_000.0;

/// Most dollars that a budget may name. More is a slip of the finger.
const USD_MAX: f64 = 1_000_000.0;

/// An amount of US dollars, in millionths.
///
/// As text and as JSON it is dollars: `1.5` is one dollar fifty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// Returns an amount of dollars, rounded to the nearest millionth.
    ///
    /// # Errors
    ///
    /// If it is negative, no number, or more than anybody means.
    pub fn from_usd(usd: f64) -> Result<MicroUsd, AmountError> {
        if (0.0..=USD_MAX).contains(&usd) {
            Ok(MicroUsd((usd * MICRO).round() as u64))
        } else {
            Err(AmountError(usd))
        }
    }

    pub fn usd(self) -> f64 {
        self.0 as f64 / MICRO
    }

    pub fn saturating_sub(self, other: MicroUsd) -> MicroUsd {
        MicroUsd(self.0.saturating_sub(other.0))
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("expected US dollars from 0 to {USD_MAX}, as in 1.5; got {0}")]
pub struct AmountError(f64);

impl fmt::Display for MicroUsd {
    /// Cents, or as many digits as a smaller amount needs: `$1.50`, `$0.0042`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, micro) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let digits = format!("{micro:06}");
        let digits = digits.trim_end_matches('0');
        write!(f, "${dollars}.{digits:0<2}")
    }
}

impl AddAssign for MicroUsd {
    fn add_assign(&mut self, other: MicroUsd) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl Serialize for MicroUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.usd())
    }
}

impl<'de> Deserialize<'de> for MicroUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MicroUsd, D::Error> {
        MicroUsd::from_usd(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// What a model's tokens cost: millionths of a dollar for a million of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    pub input: MicroUsd,
    pub output: MicroUsd,
    pub cache_read: MicroUsd,
    pub cache_write: MicroUsd,
}

impl Price {
    /// Returns what a call has cost, rounded up: a part of a millionth is never free.
    pub fn of(&self, usage: Usage) -> MicroUsd {
        let part = |tokens: u64, price: MicroUsd| u128::from(tokens) * u128::from(price.0);
        let sum = part(usage.input, self.input)
            + part(usage.output, self.output)
            + part(usage.cache_read, self.cache_read)
            + part(usage.cache_write, self.cache_write);
        MicroUsd(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// Returns the most that a call can cost: nothing of its prompt is in the cache, and all of
    /// it is written there if that is dearer.
    pub fn at_most(&self, prompt: u64, output: u64) -> MicroUsd {
        let input = self.input.max(self.cache_write).max(self.cache_read);
        let dear = Price { input, ..*self };
        dear.of(Usage { input: prompt, output, ..Usage::default() })
    }
}

/// A cap on what is spent. None of both is no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<MicroUsd>,
    /// Tokens of all sorts, as the provider counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl Budget {
    pub const NONE: Budget = Budget { usd: None, tokens: None };

    pub fn is_none(&self) -> bool {
        *self == Budget::NONE
    }

    /// The tighter of two caps, for each of its sides.
    pub fn min(self, other: Budget) -> Budget {
        fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            }
        }
        let usd = tighter(self.usd, other.usd);
        Budget { usd, tokens: tighter(self.tokens, other.tokens) }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.usd, self.tokens) {
            (Some(usd), Some(tokens)) => write!(f, "{usd} and {tokens} tokens"),
            (Some(usd), None) => write!(f, "{usd}"),
            (None, Some(tokens)) => write!(f, "{tokens} tokens"),
            (None, None) => f.write_str("no cap"),
        }
    }
}

crate::word_enum! {
    /// By what model calls are added up.
    pub enum SpendBy {
        Agent = "agent",
        Session = "session",
        /// The session at the head of a tree.
        Tree = "tree",
        Model = "model",
        /// One execution of an agent: what one answer took.
        Run = "run",
        /// Of UTC.
        Day = "day",
    }
}

/// What was spent, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    pub usd: MicroUsd,
    pub tokens: u64,
}

impl Spend {
    pub fn saturating_sub(self, other: Spend) -> Spend {
        let usd = self.usd.saturating_sub(other.usd);
        Spend { usd, tokens: self.tokens.saturating_sub(other.tokens) }
    }

    /// Is all of it within the cap?
    pub fn within(self, cap: Budget) -> bool {
        cap.usd.is_none_or(|usd| self.usd <= usd)
            && cap.tokens.is_none_or(|tokens| self.tokens <= tokens)
    }

    /// What a cap leaves after it.
    pub fn left_of(self, cap: Budget) -> Budget {
        Budget {
            usd: cap.usd.map(|usd| usd.saturating_sub(self.usd)),
            tokens: cap.tokens.map(|tokens| tokens.saturating_sub(self.tokens)),
        }
    }
}

impl std::ops::Add for Spend {
    type Output = Spend;

    fn add(mut self, other: Spend) -> Spend {
        self += other;
        self
    }
}

impl AddAssign for Spend {
    fn add_assign(&mut self, other: Spend) {
        self.usd += other.usd;
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

impl fmt::Display for Spend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} tokens", self.usd, self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(amount: f64) -> MicroUsd {
        MicroUsd::from_usd(amount).unwrap()
    }

    #[test]
    fn amounts_are_read_and_shown_as_dollars() {
        for (amount, text) in
            [(0.0, "$0.00"), (1.5, "$1.50"), (0.0042, "$0.0042"), (12.345_678, "$12.345678")]
        {
            assert_eq!(usd(amount).to_string(), text);
            assert_eq!(serde_json::to_value(usd(amount)).unwrap(), serde_json::json!(amount));
        }
        for wrong in [-1.0, f64::NAN, 1e9] {
            MicroUsd::from_usd(wrong).unwrap_err();
        }
    }

    #[test]
    fn a_call_costs_its_tokens_of_each_sort_rounded_up() {
        let price = Price {
            input: usd(3.0),
            output: usd(15.0),
            cache_read: usd(0.3),
            cache_write: usd(3.75),
        };
        let usage = Usage { input: 1_000, output: 100, cache_read: 10_000, cache_write: 1_000 };
        // 3,000 + 1,500 + 3,000 + 3,750 millionths.
        assert_eq!(price.of(usage), MicroUsd(11_250));
        assert_eq!(price.of(Usage { cache_read: 1, ..Usage::default() }), MicroUsd(1));
        assert_eq!(price.at_most(12_000, 100), MicroUsd(46_500));
        let whole = Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() };
        assert_eq!(price.of(whole), MicroUsd(u64::MAX));
    }

    #[test]
    fn a_cap_holds_on_both_of_its_sides() {
        let cap = Budget { usd: Some(usd(1.0)), tokens: Some(100) };
        let spend = |amount, tokens| Spend { usd: usd(amount), tokens };
        assert!(spend(1.0, 100).within(cap));
        assert!(!spend(1.000_001, 1).within(cap));
        assert!(!spend(0.0, 101).within(cap));
        assert!(spend(9.0, 9_000).within(Budget::NONE));
        let left = spend(0.25, 150).left_of(cap);
        assert_eq!(left, Budget { usd: Some(usd(0.75)), tokens: Some(0) });
        let other = Budget { usd: Some(usd(2.0)), tokens: None };
        assert_eq!(cap.min(other), cap);
        assert_eq!(other.min(Budget::NONE), other);
    }
}
