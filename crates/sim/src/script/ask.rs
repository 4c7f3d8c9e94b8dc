//! Commands in the calls of a script: some that may run, and some that a person is asked about.

use machine::event::{CallPlan, PlannedCall};
use types::CommandLine;

use super::Said;
use crate::rng::Rng;

/// Makes commands of some calls.
pub fn vary(rng: &mut Rng, said: &mut Said) {
    let Said::Calls(calls) = said else { return };
    for PlannedCall { plan, command, .. } in calls {
        if matches!(plan, CallPlan::External(_)) && rng.chance(700) {
            *command = Some(random(rng));
        }
    }
}

fn random(rng: &mut Rng) -> CommandLine {
    let text = *rng.pick(&["ls", "cargo test", "git push origin", "rm -rf x", "a $B"]);
    let words = text.split(' ').map(str::to_owned).collect();
    let programs = (!text.contains('$')).then(|| vec![words]);
    CommandLine { text: text.to_owned(), programs }
}
