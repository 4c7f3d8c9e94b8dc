//! What people see, wherever the gateway crashes.

use machine::limits::RECOVERIES_MAX;
use machine::rows::{EntryKind, Outcome};
use machine::run::Phase;
use sim::fault::Faults;
use sim::rng::Rng;
use sim::script::{Asked, Said, Script, external, internal, spawn, wait};
use sim::{Plan, Sim};
use types::{EffectClass, InternalCall, WaitFor};

use crate::bench::main_session;

/// Enough to cut every life in several places, and not so much that a run is given up.
const FAULTS: Faults =
    Faults { cut: 30, crash: 15, drain: 10, doubled: 200, late: 300, resent: 200 };

fn named(brief: &str) -> InternalCall {
    let task_name = Some(brief.to_owned());
    InternalCall::spawn(types::SpawnRequest { task_name, ..spawn(brief) })
}

/// Spawns `names`, then yields until all have ended.
fn split(names: &[&str]) -> Said {
    let spawns = names.iter().map(|name| internal(&format!("call-{name}"), named(name)));
    let all = internal("yield", InternalCall::Yield(wait(WaitFor::All)));
    Said::Calls(spawns.chain([all]).collect())
}

fn name_of(asked: &Asked<'_>) -> String {
    let mut tasks = asked.world.tasks.iter();
    let own = tasks.find(|task| Some(task.id) == asked.run.task);
    own.and_then(|task| task.task_name.clone()).unwrap_or_default()
}

/// The map is split in three, and its middle once more.
fn map() -> Script {
    Box::new(|asked| {
        let first = asked.count(EntryKind::Assistant) == 0;
        match (asked.depth, name_of(asked).as_str()) {
            (0, _) if first => split(&["west", "middle", "east"]),
            (1, "middle") if first => split(&["up", "centre", "down"]),
            (0 | 1, _) if asked.count(EntryKind::Announce) < asked.children().len() => {
                Said::Calls(vec![internal(
                    &format!("again-{}", asked.step),
                    InternalCall::Yield(wait(WaitFor::All)),
                )])
            }
            (0, _) => Said::Text("all three found it".to_owned()),
            _ => Said::Text("found".to_owned()),
        }
    })
}

fn story(seed: u64, faults: Faults, script: Script) -> Sim {
    let room = if seed.is_multiple_of(2) { usize::MAX } else { 1 };
    Sim::new(Plan { faults, room, ..Plan::quiet(seed) }, script)
}

/// A parent spawns three children, one of which spawns three more. Whatever the order in which
/// things finish, and wherever the gateway crashes, each parent hears of each of its children
/// exactly once, and the person gets one answer.
#[test]
fn every_child_is_announced_once_whatever_crashes() {
    let mut crashes = 0;
    for seed in 0..100 {
        let mut sim = story(seed, FAULTS, map());

        sim.send(&main_session(), "split the map");
        sim.run_to_idle();

        let sessions = sim.disk.world.sessions.iter();
        let mut heard: Vec<usize> = sessions
            .map(|session| {
                let entries = sim.disk.world.entries.iter();
                let own = entries.filter(|entry| entry.session_id == session.session_id);
                own.filter(|entry| entry.kind == EntryKind::Announce).count()
            })
            .collect();
        heard.sort_unstable();
        // Five leaves hear nothing; the two that split hear of three children each.
        assert_eq!(heard, [0, 0, 0, 0, 0, 3, 3], "seed {seed}");
        assert_eq!(sim.truth.delivered, ["all three found it"], "seed {seed}");
        crashes += sim.crashes;
    }
    assert!(crashes > 100, "only {crashes} crashes");
}

/// Stop, in the middle of everything: each task ends cancelled, nothing begins after it, and the
/// person hears no more of it.
#[test]
fn a_stop_ends_the_whole_tree() {
    for seed in 0..100 {
        let mut sim = story(seed, FAULTS, map());
        sim.send(&main_session(), "split the map");
        let size = 1 + (seed % 6) as usize;
        sim.run_until(|sim| sim.disk.world.tasks.len() >= size);

        sim.stop(&main_session());
        sim.run_to_idle();

        assert!(sim.truth.delivered.is_empty(), "seed {seed}: {:?}", sim.truth.delivered);
        for run in &sim.disk.world.runs {
            let cancelled = run.phase == Phase::Ended(Outcome::Cancelled);
            let done_before = run.task.is_some() && run.phase == Phase::Ended(Outcome::Completed);
            // One that a crash has hit again and again at one step, before the stop.
            let given_up = run.recoveries > RECOVERIES_MAX;
            let fine = cancelled || done_before || given_up;
            assert!(fine, "seed {seed}: {} is {:?}", run.id, run.phase);
        }
    }
}

/// A gateway that is drained again and again finishes its work all the same: no run is given up,
/// and no tool whose effect nobody can undo is started twice.
#[test]
fn a_drain_loses_nothing() {
    for seed in 0..50 {
        let faults = Faults { drain: 300, doubled: 100, ..Faults::default() };
        let script: Script = Box::new(|asked| match asked.count(EntryKind::Assistant) {
            0..3 => Said::Calls(vec![
                external(&format!("a{}", asked.step), EffectClass::Opaque),
                external(&format!("b{}", asked.step), EffectClass::Pure),
            ]),
            _ => Said::Text("done".to_owned()),
        });
        let mut sim = story(seed, faults, script);

        sim.send(&main_session(), "do it");
        sim.run_to_idle();

        assert_eq!(sim.truth.delivered, ["done"], "seed {seed}");
        let steps = &sim.disk.world.steps;
        assert_eq!(steps.len(), 4 + 6, "seed {seed}: {steps:?}");
        for step in steps {
            assert!(sim.truth.times_started(step.run, step.n) <= 1, "seed {seed}");
        }
    }
}

/// The faults of a seed are not all quiet, or the seeds would prove nothing.
#[test]
fn faults_vary() {
    let faults: Vec<Faults> = (0..50).map(|seed| Faults::of(&mut Rng::new(seed))).collect();
    assert!(faults.iter().any(|faults| faults.cut == 0 && faults.crash == 0));
    assert!(faults.iter().any(|faults| faults.cut > 50));
}
