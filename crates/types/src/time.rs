//! Points in time, as integers. There is no `now` here: `runtime::clock` has the only one.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A day of UTC. Leap seconds are not counted in Unix time.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Returns the day of UTC that it belongs to, as in `2026-11-21`.
    ///
    /// Source: H. Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `civil_from_days`.
    pub fn day(self) -> String {
        let z = self.0.div_euclid(DAY_MS) + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Returns when the next day of UTC begins.
    pub fn next_day(self) -> Timestamp {
        Timestamp((self.0.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS))
    }

    /// Returns how long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, duration: Duration) -> Timestamp {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_time() {
        #[rustfmt::skip]
        let table = [
            (0,                 "1970-01-01"),
            (-1,                "1969-12-31"),
            (951_782_400_000,   "2000-02-29"),
            (1_795_132_799_999, "2026-11-19"),
            (1_795_132_800_000, "2026-11-20"),
            (4_107_542_400_000, "2100-03-01"),
        ];
        for (ms, day) in table {
            assert_eq!(Timestamp(ms).day(), day);
        }
        assert_eq!(Timestamp(951_782_400_001).next_day().day(), "2000-03-01");
        assert_eq!(Timestamp(951_868_799_999).next_day().day(), "2000-03-01");
    }
}
