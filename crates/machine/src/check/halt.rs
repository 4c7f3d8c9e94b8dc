//! Halts: what a run had out when it was ended is looked at until nothing of it is left.

use std::collections::{BTreeMap, BTreeSet};

use types::RunId;

use super::{Found, World};
use crate::rows::{HaltState, Outcome, Run, TimerKind};

/// Looks at all halts: each is of a run that was ended or had something in the background, tells of
/// what was seen, and one that is not proved has the timer after which it is looked again. No run
/// has ended with something in the background and has none.
pub(super) fn check(world: &World, found: &mut Found) {
    let runs: BTreeMap<RunId, &Run> = world.runs.iter().map(|run| (run.id, run)).collect();
    let timers = world.timers.iter().filter(|timer| timer.kind == TimerKind::Halt);
    let mut timers: BTreeSet<&str> = timers.map(|timer| timer.subject.as_str()).collect();
    for halt in &world.halts {
        let run = runs.get(&halt.run);
        let outcome = run.and_then(|run| run.phase.outcome());
        let background = run.is_some_and(|run| run.background);
        let ended = outcome.is_some_and(|outcome| background || outcome != Outcome::Completed);
        found.unless(ended, "halts", || format!("{} is halted, and {outcome:?}", halt.run));
        let left = !halt.pids.is_empty() || halt.calls > 0;
        let tells = match halt.state {
            HaltState::Stopping => halt.looked.is_none() && !left,
            HaltState::Stopped => halt.looked.is_some() && !left,
            HaltState::Unproved => halt.looked.is_some() && left,
        };
        found.unless(tells, "halts", || format!("{halt:?} does not say what was seen"));
        let timer = timers.remove(halt.run.to_string().as_str());
        found.unless(timer == (halt.state != HaltState::Stopped), "halts", || {
            format!("{} is {}, and has a timer: {timer}", halt.run, halt.state)
        });
    }
    let halted: BTreeSet<RunId> = world.halts.iter().map(|halt| halt.run).collect();
    for run in world.runs.iter().filter(|run| run.background && run.phase.ended()) {
        found.unless(halted.contains(&run.id), "halts", || {
            format!("nobody looks after what {} has left in the background", run.id)
        });
    }
    found.unless(timers.is_empty(), "halts", || format!("timers look at nothing: {timers:?}"));
}
