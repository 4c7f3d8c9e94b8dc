//! `tasks.audit` and `tasks.redeliver`: what lies, hangs or has reached nobody.

use std::time::Duration;

use machine::Event;
use machine::audit::{self, Finding, Severity};
use protocol::ErrorShape;
use protocol::audit::{AuditFinding, AuditResult, AuditSeverity};
use serde_json::Value;
use types::TaskId;

use crate::gateway::{Gateway, unreadable};
use crate::methods::chat::OWNER;
use crate::methods::spawn;

/// How long what looks like a fault has to stand. A timer may be set for a moment that is over, and
/// is then acted upon at once.
const STANDS: Duration = Duration::from_millis(1_500);

/// `tasks.audit`
pub async fn audit(gateway: &Gateway) -> Result<AuditResult, ErrorShape> {
    let mut found = look(gateway).await?;
    if found.iter().any(|finding| finding.severity == Severity::Error) {
        tokio::time::sleep(STANDS).await;
        let before = std::mem::replace(&mut found, look(gateway).await?);
        found.retain(|finding| {
            finding.severity == Severity::Warning || before.iter().any(|b| same(b, finding))
        });
    }
    Ok(AuditResult { ts: gateway.now(), findings: found.into_iter().map(shown).collect() })
}

async fn look(gateway: &Gateway) -> Result<Vec<Finding>, ErrorShape> {
    let now = gateway.now();
    let limits = &gateway.handle.limits();
    let since = audit::since(now, limits);
    let rows = gateway.handle.store().open_rows(since).await.map_err(unreadable)?;
    Ok(audit::audit(&rows, now, limits))
}

/// Is it about the same rows? Its words may tell of times.
fn same(one: &Finding, other: &Finding) -> bool {
    let key = |finding: &Finding| {
        let Finding { fault, task_id, run_id, flow_id, session_key, fix, .. } = finding.clone();
        (fault, task_id, run_id, flow_id, session_key, fix)
    };
    key(one) == key(other)
}

fn shown(finding: Finding) -> AuditFinding {
    AuditFinding {
        severity: match finding.severity {
            Severity::Error => AuditSeverity::Error,
            Severity::Warning => AuditSeverity::Warning,
        },
        fault: finding.fault.to_string(),
        task_id: finding.task_id,
        run_id: finding.run_id,
        flow_id: finding.flow_id,
        session_key: finding.session_key,
        what: finding.what,
        fix: finding.fix,
    }
}

/// `tasks.redeliver`
pub async fn redeliver(gateway: &Gateway, task: TaskId) -> Result<Value, ErrorShape> {
    spawn::asked(gateway, Event::Redeliver { task, by: OWNER.to_owned() }).await
}
