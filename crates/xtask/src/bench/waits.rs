//! Times that something took, as people ask for them: in the middle, and of the slowest.

use std::time::Duration;

use anyhow::Context;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    pub median: Duration,
    /// 99 in a hundred took no longer.
    pub slowest_percent: Duration,
    pub slowest: Duration,
}

impl Waits {
    pub fn of(mut waits: Vec<Duration>) -> anyhow::Result<Waits> {
        waits.sort_unstable();
        let at = |share: usize| waits.get(waits.len() * share / 100).copied();
        Ok(Waits {
            median: at(50).context("nothing was measured")?,
            slowest_percent: at(99).context("nothing was measured")?,
            slowest: waits.last().copied().context("nothing was measured")?,
        })
    }
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_the_last_is_the_slowest() {
        let waits = (1..=100).rev().map(Duration::from_millis).collect();
        let waits = Waits::of(waits).unwrap();
        let seen = [waits.median, waits.slowest_percent, waits.slowest].map(millis);
        assert_eq!(seen, [51.0, 100.0, 100.0]);
        assert!(Waits::of(Vec::new()).is_err());
    }
}
