//! Whole lives: those that once failed, some new ones, and one of them twice.

use machine::rows::Outcome;
use sim::{life, live, meta, seeds};

#[test]
fn seeds_that_once_failed() {
    for seed in seeds::kept() {
        live(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn two_hundred_lives() {
    let mut heard = 0;
    for seed in 0..200 {
        heard += live(seed).unwrap_or_else(|failure| panic!("{failure}")).heard;
    }
    // Lives in which nothing is handed on would prove nothing.
    assert!(heard > 500, "only {heard} results were taken in");
}

/// Without this, a seed that failed could not be looked at.
#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in 0..10 {
        assert_eq!(meta::fingerprint(seed), meta::fingerprint(seed), "seed {seed}");
    }
    assert_ne!(meta::fingerprint(0), meta::fingerprint(1));
}

/// A look at the rows that found nothing whatever they are would be worth nothing.
#[test]
#[should_panic = "I4"]
fn a_broken_promise_is_seen() {
    let mut sim = life::sim(1);
    sim.run_until(|sim| sim.disk.world.tasks.iter().any(|task| task.outcome.is_none()));
    for task in &mut sim.disk.world.tasks {
        task.outcome = Some(Outcome::Completed);
    }
    sim.check();
}
