//! Whole lives: those that once failed, some new ones, and one of them twice.

use std::collections::BTreeMap;

use machine::rows::{EpisodeReason, Lifecycle, Outcome, Task};
use sim::{life, live, meta, seeds};
use types::Scope;

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

/// Lives in which no session is named, taken from the pool, branched or put away would prove
/// nothing about those that are.
#[test]
fn lives_hold_every_way_to_a_session() {
    let mut found = [0; 6];
    for seed in 0..150 {
        let mut sim = life::sim(seed);
        sim.run_to_idle();
        let world = &sim.disk.world;
        let carried: BTreeMap<_, usize> = world.tasks.iter().fold(BTreeMap::new(), |mut map, t| {
            *map.entry(&t.session_key).or_default() += 1;
            map
        });
        let twice = |scope: fn(&Scope) -> bool| {
            carried.iter().filter(|(key, count)| **count > 1 && scope(&key.scope)).count()
        };
        let unborn = |task: &&Task| world.runs.iter().all(|run| run.id != task.run);
        let counts = [
            twice(|scope| matches!(scope, Scope::Thread(_))),
            twice(|scope| matches!(scope, Scope::WarmSubagent(_))),
            world.episodes.iter().filter(|row| row.reason == EpisodeReason::Pool).count(),
            world.transcripts.iter().filter(|row| row.base.is_some()).count(),
            world.sessions.iter().filter(|row| row.lifecycle == Lifecycle::Archived).count(),
            world.tasks.iter().filter(unborn).count(),
        ];
        for (sum, count) in found.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let names = ["thread", "helper", "pool", "fork", "archived", "stopped in line"];
    for (name, count) in names.iter().zip(found) {
        assert!(count > 0, "{name}: none, of {names:?} {found:?}");
    }
    println!("{names:?} {found:?}");
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
