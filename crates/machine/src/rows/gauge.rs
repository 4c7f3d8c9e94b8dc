//! How large a conversation is, and what is being done about it.

use serde::{Deserialize, Serialize};

/// What is known of the size of a conversation, beside its `context_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gauge {
    /// `context_tokens` when a provider has counted last; what it is above that is estimated.
    pub counted: u64,
    /// Tokens as the provider counts them for 1,000 that we estimate.
    pub ratio: u32,
    pub told: Option<Told>,
    pub fold: Fold,
}

/// A window that a provider has told with its refusal, and that is smaller than the configured one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub model: String,
    pub tokens: u64,
}

/// Where the compaction of a conversation stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fold {
    /// Somebody has asked for it, and has said what matters, or nothing.
    pub asked: Option<String>,
    /// A provider has refused the last call as too long, and nothing was done about it yet.
    pub overflowed: bool,
    /// Calls since the last answer that were about its size, or were refused for it.
    pub calls: u32,
    /// Calls that were refused so since the last answer.
    pub overflows: u32,
    /// New episodes since the last answer.
    pub folds: u32,
    /// The taking of notes; none if none have been asked for in this episode.
    pub notes: Option<Notes>,
    /// Calls for a summary that have failed in this episode.
    pub failures: u32,
    /// The call for a summary that is out, or was, is about what comes before this entry.
    pub cut: Option<i64>,
}

/// The taking of notes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Calls for them that may still be made; none if they are taken.
    pub left: u32,
    /// As in `2026-11-21`, of UTC: when they were asked for.
    pub day: String,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge { counted: 0, ratio: Gauge::RATIO_ONE, told: None, fold: Fold::default() }
    }
}

impl Gauge {
    /// The ratio of an estimate that is right.
    pub const RATIO_ONE: u32 = 1_000;

    /// Bounds of the ratio. Our estimate is four bytes for a token: a model of one script may need
    /// one for each byte of another, and nobody packs eight into one.
    const RATIO_MIN: u32 = 500;
    const RATIO_MAX: u32 = 4_000;

    /// What an estimate is likely to be, as the provider counts.
    pub fn likely(&self, estimate: u64) -> u64 {
        let scaled = u128::from(estimate) * u128::from(self.ratio) / 1_000;
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// The estimate that is likely to be so many tokens.
    pub fn unlikely(&self, tokens: u64) -> u64 {
        let scaled = u128::from(tokens) * 1_000 / u128::from(self.ratio.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// A provider has counted `counted` tokens where `likely` were expected. `weight` of four
    /// parts of what it says is believed: one answer may be odd.
    pub fn learn(&mut self, likely: u64, counted: u64, weight: u64) {
        if likely == 0 {
            return;
        }
        let seen = u128::from(self.ratio) * u128::from(counted) / u128::from(likely);
        let seen = u32::try_from(seen).unwrap_or(u32::MAX);
        let seen = u64::from(seen.clamp(Gauge::RATIO_MIN, Gauge::RATIO_MAX));
        let mixed = (u64::from(self.ratio) * (4 - weight) + seen * weight) / 4;
        self.ratio = u32::try_from(mixed).unwrap_or(Gauge::RATIO_MAX);
    }

    /// The window of `model`: the smaller of what is configured and what was told.
    pub fn window(&self, model: &str, configured: u64) -> u64 {
        let told = self.told.as_ref().filter(|told| told.model == model);
        told.map_or(configured, |told| told.tokens.min(configured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_follows_what_is_counted_within_bounds() {
        #[rustfmt::skip]
        let table = [
            // ratio likely counted weight  then
            (1_000,  1_000, 1_000,  2,      1_000),
            (1_000,  1_000, 2_000,  2,      1_500),
            (1_000,  1_000, 2_000,  4,      2_000),
            (2_000,  2_000, 1_000,  4,      1_000),
            (1_000,  1_000, 9_000,  4,      4_000),
            (1_000,  1_000, 0,      4,      500),
            (1_000,  0,     9_000,  4,      1_000),
        ];
        for (ratio, likely, counted, weight, then) in table {
            let mut gauge = Gauge { ratio, ..Gauge::default() };
            gauge.learn(likely, counted, weight);
            assert_eq!(gauge.ratio, then, "{ratio} {likely} {counted} {weight}");
        }
        let gauge = Gauge { ratio: 1_500, ..Gauge::default() };
        assert_eq!((gauge.likely(1_000), gauge.unlikely(1_500)), (1_500, 1_000));
        assert_eq!(gauge.likely(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_window_that_was_told_holds_for_its_model_and_only_if_it_is_smaller() {
        let told = |tokens| Some(Told { model: "m".to_owned(), tokens });
        let gauge = Gauge { told: told(8_000), ..Gauge::default() };
        assert_eq!(gauge.window("m", 200_000), 8_000);
        assert_eq!(gauge.window("m", 4_000), 4_000);
        assert_eq!(gauge.window("n", 200_000), 200_000);
    }

    #[test]
    fn what_an_older_program_has_kept_is_read() {
        assert_eq!(serde_json::from_str::<Gauge>("{}").unwrap(), Gauge::default());
    }
}
