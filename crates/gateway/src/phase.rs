//! What a run does or waits for, as those who watch it are told.

use machine::Notice;
use protocol::agent::{RunPhase, RunStatus};
use types::RunId;

pub fn status(phase: RunPhase, detail: Option<String>) -> RunStatus {
    RunStatus { phase, detail, until: None }
}

/// The run that a notice is about, and what it does now; none if it is about something else.
pub fn of(notice: &Notice) -> Option<(RunId, RunStatus)> {
    let plain = |phase| status(phase, None);
    Some(match notice {
        Notice::RunQueued { run, .. } => (*run, plain(RunPhase::Queued)),
        Notice::RunStarted { run, .. } => (*run, plain(RunPhase::PreparingContext)),
        Notice::ModelCallFailed { run, error, retry_in_ms: Some(ms), .. } => {
            let seconds = (ms + 999) / 1_000;
            let detail = format!("{error}; again in {seconds} s");
            (*run, status(RunPhase::Retrying, Some(detail)))
        }
        Notice::AtGate { run, gate, until, .. } => {
            let waits = status(RunPhase::WaitingProvider, Some(gate.to_string()));
            (*run, RunStatus { until: Some(*until), ..waits })
        }
        Notice::OverBudget { run, why, .. } => {
            (*run, status(RunPhase::WaitingBudget, Some(why.clone())))
        }
        Notice::ModelSwitched { run, from, to, reason, .. } => {
            let detail = format!("{to} in the place of {from}: {reason}");
            (*run, status(RunPhase::Fallback, Some(detail)))
        }
        Notice::TakingNotes { run, .. } => (*run, plain(RunPhase::MemoryFlushing)),
        Notice::Compacting { run, .. } => (*run, plain(RunPhase::Compacting)),
        Notice::Yielded { run, waiting_for, .. } => {
            let noun = if *waiting_for == 1 { "sub-agent" } else { "sub-agents" };
            (*run, status(RunPhase::WaitingChildren, Some(format!("{waiting_for} {noun}"))))
        }
        _ => return None,
    })
}
