//! Whole lives: those that once failed, some new ones, and one of them twice.

use machine::rows::Outcome;
use sim::{Lived, life, live, meta, seeds};

#[test]
fn seeds_that_once_failed() {
    for seed in seeds::kept() {
        live(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn two_hundred_lives() {
    let mut lived = Lived::default();
    for seed in 0..200 {
        lived += live(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
    // Lives in which nothing is handed on would prove nothing.
    assert!(lived.heard > 500, "only {} results were taken in", lived.heard);
    let missing = lived.coverage.missing(200);
    assert!(missing.is_empty(), "no life has exercised {missing:?}");
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

/// What nobody has done is missed, and only by so many lives as should have done it.
#[test]
fn what_was_not_exercised_is_missed() {
    let none = Lived::default().coverage;
    assert!(none.missing(199).is_empty());
    let (some, all) = (none.missing(200), none.missing(1_000));
    assert!(some.contains(&"call Yield waiting") && some.len() < all.len());
}
