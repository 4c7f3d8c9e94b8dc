//! What holds work up, as clients are told it: long lines, gates of providers, compactions.

use machine::Notice;
use machine::effect::FoldedBy;
use protocol::Event;
use protocol::notice::{ProviderGate, QueueWait, SessionOperation};
use store::view::{GateView, LaneView, LineView};
use types::{RunId, SessionKey, Timestamp};

use crate::feed::{Audience, Out};

/// Makes the event of a notice that is about a line, a gate or a compaction.
pub fn held_up(notice: &Notice, now: Timestamp) -> Vec<Out> {
    let gate = |gate: String, state: &str| ProviderGate {
        gate,
        state: state.to_owned(),
        kind: None,
        resumes_at: None,
        reason: None,
        waiting: 0,
        ts: now,
    };
    let event = match notice {
        Notice::QueueWait { wire_id, session, lane, place, waited_ms, holders, .. } => {
            Event::QueueWait(Box::new(QueueWait {
                run_id: wire_id.clone(),
                session_key: session.clone(),
                agent_id: session.agent.clone(),
                lane: lane.to_string(),
                place: *place,
                waited_ms: u64::try_from(*waited_ms).unwrap_or(0),
                holders: holders.clone(),
                ts: now,
            }))
        }
        Notice::GateClosed { gate: key, kind, reopen, reason } => {
            Event::ProviderGate(Box::new(ProviderGate {
                kind: Some(kind.to_string()),
                resumes_at: Some(*reopen),
                reason: Some(reason.clone()),
                ..gate(key.to_string(), "closed")
            }))
        }
        Notice::GateOpened { gate: key } => {
            Event::ProviderGate(Box::new(gate(key.to_string(), "open")))
        }
        Notice::Compacting { run, session } => {
            Event::SessionOperation(Box::new(compaction(*run, session, "start", now)))
        }
        Notice::Compacted { run, session, why, by, entries, before, after } => {
            let what = match by {
                FoldedBy::Summary => format!("{entries} entries are summarised"),
                FoldedBy::Digest => format!("{entries} entries are left out without a summary"),
                FoldedBy::Cuts => "long texts are cut".to_owned(),
            };
            Event::SessionOperation(Box::new(SessionOperation {
                completed: Some(true),
                reason: Some(format!("{why}: {what}; about {before} tokens became {after}")),
                entries: Some(*entries),
                tokens_before: Some(*before),
                tokens_after: Some(*after),
                ..compaction(*run, session, "end", now)
            }))
        }
        _ => return Vec::new(),
    };
    vec![Out { audience: Audience::Readers, event }]
}

fn compaction(run: RunId, session: &SessionKey, phase: &str, now: Timestamp) -> SessionOperation {
    SessionOperation {
        operation_id: run.to_string(),
        operation: "compact".to_owned(),
        phase: phase.to_owned(),
        session_key: session.clone(),
        agent_id: session.agent.clone(),
        ts: now,
        completed: None,
        reason: None,
        entries: None,
        tokens_before: None,
        tokens_after: None,
    }
}

/// A row of `status`.
pub fn gate_row(gate: GateView, now: Timestamp) -> ProviderGate {
    ProviderGate {
        gate: gate.gate,
        state: gate.state.to_string(),
        kind: gate.kind.map(|kind| kind.to_string()),
        resumes_at: gate.reopen,
        reason: gate.reason,
        waiting: gate.waiting,
        ts: now,
    }
}

/// A row of `status`.
pub fn line_row(line: LineView, lanes: &[LaneView], now: Timestamp) -> QueueWait {
    let lane = lanes.iter().find(|lane| lane.name == line.lane);
    let holders: Vec<SessionKey> = lane.map(|lane| lane.holders.clone()).unwrap_or_default();
    QueueWait {
        run_id: line.wire_id,
        agent_id: line.session_key.agent.clone(),
        session_key: line.session_key,
        lane: line.lane.to_string(),
        place: line.place,
        waited_ms: u64::try_from(now.since(line.since).as_millis()).unwrap_or(0),
        holders,
        ts: now,
    }
}
