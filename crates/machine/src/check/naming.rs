//! A run that has answered has the answer of the model that it asked.

use types::FailureClass;

use super::{Found, World};
use crate::limits::Limits;
use crate::naming::{self, Named};
use crate::rows::{Outcome, StepKind};
use crate::run::Phase;

/// No run is completed whose last answer is another model's, and none has failed for that reason
/// whose is not. Such an answer is paid for, so it is in the ledger under its name.
pub(super) fn check(world: &World, limits: &Limits, found: &mut Found) {
    for run in &world.runs {
        let answered = run.answered.as_deref().unwrap_or_default();
        let other = naming::of(limits, &run.model, answered) == Named::Other;
        let completed = run.phase == Phase::Ended(Outcome::Completed);
        found.unless(!(completed && other), "naming", || {
            format!("{} asked {}, is completed, and was answered by {answered}", run.id, run.model)
        });
        if run.error_class != Some(FailureClass::WrongModel) {
            continue;
        }
        found.unless(other, "naming", || {
            format!("{} asked {}, failed, and was answered by {answered}", run.id, run.model)
        });
        let model = |step: &&crate::rows::Step| step.run == run.id && step.kind == StepKind::Model;
        let last = world.steps.iter().filter(model).map(|step| step.n).max();
        let booked = world
            .ledger
            .iter()
            .any(|row| row.run == run.id && Some(row.step) == last && row.model == answered);
        found.unless(booked, "naming", || {
            format!("{} was answered by {answered}, which is not in the ledger", run.id)
        });
    }
}
