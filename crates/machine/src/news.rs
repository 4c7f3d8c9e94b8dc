//! News as lines of the journal: what kind, about what, and the details, without any text.

use serde_json::json;

use crate::effect::Notice;
use crate::rows::Approval;

impl Notice {
    /// Returns the kind, subject and detail (JSON) of the line that this becomes.
    pub fn line(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::Accepted { session, message, kind } => {
                ("accepted", message.to_string(), json!({ "session": session, "kind": kind }))
            }
            Notice::ModelCallFailed { .. }
            | Notice::ModelSwitched { .. }
            | Notice::ModelDiffers { .. } => return self.line_of_a_model(),
            Notice::RunQueued { .. }
            | Notice::GaveWay { .. }
            | Notice::RunStarted { .. }
            | Notice::Yielded { .. }
            | Notice::RunEnded(_)
            | Notice::Halted { .. }
            | Notice::Recovered { .. } => return self.line_of_a_run(),
            Notice::ToolStarted { .. }
            | Notice::ToolFinished { .. }
            | Notice::ToolsMissing { .. }
            | Notice::CallBlocked { .. } => return self.line_of_a_tool(),
            Notice::TaskSpawned { task, requester, child, run } => (
                "task.spawned",
                task.to_string(),
                json!({ "requester": requester, "child": child, "run": run }),
            ),
            Notice::TaskEnded { task, requester, child, outcome } => (
                "task.ended",
                task.to_string(),
                json!({ "requester": requester, "child": child, "outcome": outcome }),
            ),
            Notice::Told { session, task, .. } => (
                "told",
                task.map(|task| task.to_string()).unwrap_or_else(|| session.to_string()),
                json!({ "session": session }),
            ),
            Notice::NodeStarted { node }
            | Notice::NodeLost { node }
            | Notice::Draining { node } => {
                return (self.word_of_a_node(), node.to_string(), "{}".to_owned());
            }
            Notice::FlowStarted { .. }
            | Notice::FlowNodeStarted { .. }
            | Notice::FlowNodeEnded { .. }
            | Notice::FlowEnded { .. } => return self.line_of_a_flow(),
            Notice::ApprovalAsked(_) | Notice::ApprovalEnded(_) | Notice::GrantRevoked { .. } => {
                return self.line_of_an_approval();
            }
            Notice::QueueWait { .. }
            | Notice::OverBudget { .. }
            | Notice::BudgetRaised { .. }
            | Notice::AtGate { .. }
            | Notice::GateClosed { .. }
            | Notice::GateOpened { .. } => return self.line_of_a_wait(),
            Notice::SessionArchived { .. }
            | Notice::SessionRestored { .. }
            | Notice::Commanded { .. }
            | Notice::Pinned { .. }
            | Notice::Dropped { .. }
            | Notice::TakingNotes { .. }
            | Notice::Compacting { .. }
            | Notice::Compacted { .. }
            | Notice::SessionChanged { .. } => return self.line_of_a_session(),
        };
        (kind, subject, detail.to_string())
    }

    /// The line of news about a model.
    fn line_of_a_model(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::ModelCallFailed { run, error, retry_in_ms, .. } => (
                "model.failed",
                run.to_string(),
                json!({ "error": error, "retryInMs": retry_in_ms }),
            ),
            Notice::ModelSwitched { run, asked, from, to, reason, .. } => (
                "model.switched",
                run.to_string(),
                json!({ "asked": asked, "from": from, "to": to, "reason": reason }),
            ),
            Notice::ModelDiffers { run, asked, answered, .. } => {
                ("model.differs", run.to_string(), json!({ "asked": asked, "answered": answered }))
            }
            other => unreachable!("{other:?} has its line elsewhere"),
        };
        (kind, subject, detail.to_string())
    }

    /// The line of news about what a person has to allow.
    fn line_of_an_approval(&self) -> (&'static str, String, String) {
        match self {
            Notice::ApprovalAsked(approval) => asked_line(approval),
            Notice::ApprovalEnded(approval) => ended_line(approval),
            Notice::GrantRevoked { agent, pattern, by } => {
                let detail = json!({ "pattern": pattern, "by": by });
                ("approval.revoked", agent.to_string(), detail.to_string())
            }
            other => unreachable!("{other:?} has its line elsewhere"),
        }
    }

    fn word_of_a_node(&self) -> &'static str {
        match self {
            Notice::NodeStarted { .. } => "node.started",
            Notice::NodeLost { .. } => "node.lost",
            _ => "node.draining",
        }
    }

    /// The line of news about a run.
    fn line_of_a_run(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::RunQueued { run, session, lane, .. } => {
                ("run.queued", run.to_string(), json!({ "session": session, "lane": lane }))
            }
            Notice::GaveWay { run, session } => {
                ("run.gave_way", run.to_string(), json!({ "session": session }))
            }
            Notice::RunStarted { run, session, recovered, .. } => {
                ("run.started", run.to_string(), json!({ "session": session, "again": recovered }))
            }
            Notice::Yielded { run, waiting_for, .. } => {
                ("run.yielded", run.to_string(), json!({ "waitingFor": waiting_for }))
            }
            Notice::RunEnded(end) => (
                "run.ended",
                end.run.to_string(),
                json!({ "session": end.session, "outcome": end.outcome, "error": end.error }),
            ),
            Notice::Halted { run, session, pids, calls } => (
                "run.halted",
                run.to_string(),
                json!({ "session": session, "pids": pids, "calls": calls }),
            ),
            Notice::Recovered { run, session, recoveries, cut } => (
                "run.recovered",
                run.to_string(),
                json!({ "session": session, "recoveries": recoveries, "cut": cut }),
            ),
            other => unreachable!("{other:?} has its line elsewhere"),
        };
        (kind, subject, detail.to_string())
    }

    /// The line of news about a tool call.
    fn line_of_a_tool(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::ToolsMissing { run, session, servers } => (
                "tools.missing",
                run.to_string(),
                json!({ "session": session, "servers": servers }),
            ),
            Notice::ToolStarted { run, call_id, name, .. } => {
                ("tool.started", run.to_string(), json!({ "call": call_id, "name": name }))
            }
            Notice::ToolFinished { run, call_id, name, is_error, .. } => (
                "tool.finished",
                run.to_string(),
                json!({ "call": call_id, "name": name, "isError": is_error }),
            ),
            Notice::CallBlocked { run, name, count, .. } => {
                ("tool.blocked", run.to_string(), json!({ "name": name, "count": count }))
            }
            other => unreachable!("{other:?} has its line elsewhere"),
        };
        (kind, subject, detail.to_string())
    }

    /// The line of news about a flow.
    fn line_of_a_flow(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::FlowStarted { flow, task, requester, name, nodes } => (
                "flow.started",
                flow.to_string(),
                json!({ "task": task, "requester": requester, "name": name, "nodes": nodes }),
            ),
            Notice::FlowNodeStarted { flow, node, task, attempt } => (
                "flow.node.started",
                flow.to_string(),
                json!({ "node": node, "task": task, "attempt": attempt }),
            ),
            Notice::FlowNodeEnded { flow, node, task, attempt, state } => (
                "flow.node.ended",
                flow.to_string(),
                json!({ "node": node, "task": task, "attempt": attempt, "state": state }),
            ),
            Notice::FlowEnded { flow, task, requester, outcome } => (
                "flow.ended",
                flow.to_string(),
                json!({ "task": task, "requester": requester, "outcome": outcome }),
            ),
            other => unreachable!("{other:?} has its line elsewhere"),
        };
        (kind, subject, detail.to_string())
    }

    /// The line of news about what is held up.
    fn line_of_a_wait(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::QueueWait { run, session, lane, place, waited_ms, holders, .. } => (
                "queue.wait",
                run.to_string(),
                json!({ "session": session, "lane": lane, "place": place, "waitedMs": waited_ms,
                        "holders": holders }),
            ),
            Notice::AtGate { run, gate, until, .. } => {
                ("gate.wait", run.to_string(), json!({ "gate": gate.to_string(), "until": until }))
            }
            Notice::GateClosed { gate, kind, reopen, reason } => (
                "gate.closed",
                gate.to_string(),
                json!({ "kind": kind, "reopen": reopen, "reason": reason }),
            ),
            Notice::GateOpened { gate } => ("gate.opened", gate.to_string(), json!({})),
            Notice::OverBudget { run, session, budget, why } => (
                "budget.over",
                run.to_string(),
                json!({ "session": session, "budget": budget, "why": why }),
            ),
            Notice::BudgetRaised { budget, by, more } => {
                ("budget.raised", budget.to_string(), json!({ "by": by, "more": more }))
            }
            other => unreachable!("{other:?} has its line elsewhere"),
        };
        (kind, subject, detail.to_string())
    }

    /// The line of news about what a model is shown.
    fn line_of_a_context(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::TakingNotes { run, session } => {
                ("context.notes", session.to_string(), json!({ "run": run }))
            }
            Notice::Compacting { run, session } => {
                ("context.compacting", session.to_string(), json!({ "run": run }))
            }
            Notice::Compacted { run, session, why, by, entries, before, after } => (
                "context.compacted",
                session.to_string(),
                json!({ "run": run, "why": why, "by": by, "entries": entries,
                        "tokensBefore": before, "tokensAfter": after }),
            ),
            other => unreachable!("{other:?} has its line elsewhere"),
        };
        (kind, subject, detail.to_string())
    }

    /// The line of news about a session as a whole.
    fn line_of_a_session(&self) -> (&'static str, String, String) {
        let (kind, subject, detail) = match self {
            Notice::SessionArchived { session, by } => {
                ("session.archived", session.to_string(), json!({ "by": by }))
            }
            Notice::SessionRestored { session, by } => {
                ("session.restored", session.to_string(), json!({ "by": by }))
            }
            Notice::Commanded { session, key, is_error, .. } => {
                ("command", session.to_string(), json!({ "key": key, "isError": is_error }))
            }
            Notice::Pinned {
                run,
                session,
                reason,
                prefix,
                tokens,
                same,
                resent,
                written,
                read,
            } => (
                "prefix.pinned",
                session.to_string(),
                json!({ "run": run, "reason": reason, "prefix": prefix, "tokens": tokens,
                        "same": same, "resentTokens": resent, "writtenUsd": written,
                        "readUsd": read }),
            ),
            Notice::Dropped { session, message } => {
                ("dropped", message.to_string(), json!({ "session": session }))
            }
            Notice::SessionChanged { session, what } => {
                ("session", session.to_string(), json!({ "what": what }))
            }
            Notice::TakingNotes { .. } | Notice::Compacting { .. } | Notice::Compacted { .. } => {
                return self.line_of_a_context();
            }
            other => unreachable!("{other:?} has its line elsewhere"),
        };
        (kind, subject, detail.to_string())
    }
}

fn asked_line(approval: &Approval) -> (&'static str, String, String) {
    let Approval { id, run, session_key, tool, expires, .. } = approval;
    let detail = json!({
        "run": run, "session": session_key, "tool": tool, "expires": expires,
    });
    ("approval.asked", id.to_string(), detail.to_string())
}

fn ended_line(approval: &Approval) -> (&'static str, String, String) {
    let Approval { id, run, session_key, state, by, .. } = approval;
    let detail = json!({ "run": run, "session": session_key, "state": state, "by": by });
    ("approval.ended", id.to_string(), detail.to_string())
}
