//! What the last start has found: what was interrupted, what went on, what is left to a person.

use std::time::Duration;

use machine::Limits;
use machine::audit::{self, Fault};
use machine::restart::{Interrupted, interrupted};
use machine::rows::NodeState;
use machine::status::activity;
use protocol::ErrorShape;
use protocol::health::{InterruptedRun, LastRestart, LeftToPerson};
use store::StoreError;
use store::query::Query;
use store::view::{JournalView, RunView};
use types::Timestamp;

use crate::gateway::{Gateway, unreadable};

/// Lines of one start. Lanes have fewer slots.
const LINES_MAX: usize = 10_000;

/// How often, and how many times, to look whether a start is on record with all that it has found.
/// It is within moments.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 500;

/// Starts that are looked at: those of a gateway that was killed again and again.
const NODES_MAX: usize = 50;

/// Waits until this start is on record, and has taken over what was lost. The gateway listens a
/// moment earlier, and would tell of the start before.
pub async fn settled(gateway: &Gateway) -> Result<(), ErrorShape> {
    for _ in 0..LOOKS_MAX {
        let nodes = gateway.handle.store().nodes(NODES_MAX).await.map_err(unreadable)?;
        let begun = nodes.first().is_some_and(|node| node.id == gateway.info.node);
        if begun && nodes[1..].iter().all(|node| node.state == NodeState::Down) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

pub fn report(
    rows: &dyn Query,
    now: Timestamp,
    limits: &Limits,
) -> Result<Option<LastRestart>, StoreError> {
    let lines = rows.restart_lines(LINES_MAX)?;
    let Some(start) = lines.first() else { return Ok(None) };
    let lost = lines.iter().filter(|line| line.kind == "node.lost");
    let mut report = LastRestart {
        started_at: start.at,
        lost: lost.map(|line| line.subject.clone()).collect(),
        runs: Vec::new(),
        continued: 0,
        given_up: 0,
        calls_cut: 0,
        tokens_cut: 0,
        unknown_calls: 0,
        waiting_for_person: Vec::new(),
    };
    for line in lines.iter().filter(|line| line.kind == "run.recovered") {
        let Some(one) = interrupted(&line.subject, &line.detail) else { continue };
        let Some(run) = rows.run(one.run)? else { continue };
        count(&mut report, &one);
        if one.cut.given_up {
            report.waiting_for_person.extend(given_up(rows, line, &run)?);
        }
        report.runs.push(shown(&one, &run, now));
    }
    let runs: Vec<_> = report.runs.iter().map(|run| run.run_id).collect();
    let open = rows.open_rows(audit::since(now, limits))?;
    let found = audit::audit(&open, now, limits).into_iter();
    let of_person = found.filter(|one| match one.fault {
        Fault::OutcomeUnknown => one.run_id.is_some_and(|id| runs.contains(&id)),
        fault => fault == Fault::OverBudget,
    });
    report.waiting_for_person.extend(of_person.filter_map(|one| {
        Some(LeftToPerson { session_key: one.session_key?, what: one.what, fix: one.fix })
    }));
    Ok(Some(report))
}

fn count(report: &mut LastRestart, one: &Interrupted) {
    report.continued += u64::from(!one.cut.given_up);
    report.given_up += u64::from(one.cut.given_up);
    report.calls_cut += one.cut.calls;
    report.tokens_cut += one.cut.tokens;
    report.unknown_calls += one.cut.unknown;
}

fn shown(one: &Interrupted, run: &RunView, now: Timestamp) -> InterruptedRun {
    let facts = &run.facts;
    let doing = || activity(Some(facts.phase), facts.lease_live(now)).to_string();
    InterruptedRun {
        run_id: one.run,
        session_key: run.session_key.clone(),
        task_id: run.task,
        continued: !one.cut.given_up,
        stands: facts.outcome.map_or_else(doing, |outcome| outcome.to_string()),
        calls_cut: one.cut.calls,
        tokens_cut: one.cut.tokens,
        unknown_calls: one.cut.unknown,
        recoveries: one.recoveries,
    }
}

/// A run that was given up, unless somebody has gone on with its session since.
fn given_up(
    rows: &dyn Query,
    line: &JournalView,
    run: &RunView,
) -> Result<Option<LeftToPerson>, StoreError> {
    let key = &run.session_key;
    let session = rows.session(key)?;
    let newest = session.as_ref().and_then(|session| session.newest_run());
    if newest.is_none_or(|newest| newest.id != run.facts.id) {
        return Ok(None);
    }
    let fix = match run.task {
        Some(task) => format!("windlass tasks retry {task}"),
        None => format!("windlass agent --session-key {key} --message \"Go on\""),
    };
    let what = format!(
        "{} was given up at {}: its gateway was lost too often at one step",
        run.facts.id, line.at
    );
    Ok(Some(LeftToPerson { session_key: key.clone(), what, fix }))
}
