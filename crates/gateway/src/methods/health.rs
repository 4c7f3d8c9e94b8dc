//! `health` and `status`: how the gateway is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machine::Limits;
use machine::limits::QUEUE_NOTICES;
use machine::status::Activity;
use protocol::ErrorShape;
use protocol::health::{
    AgentHealth, Health, HealthParams, Heartbeat, Lane, LastRestart, Ledger, RecentSession,
    RunCounts, SessionsHealth, Status, StatusParams, TaskCounts, Waiting,
};
use protocol::notice::{ProviderGate, QueueWait};
use protocol::stop::StopItem;
use protocol::usage::BudgetRow;
use store::StoreError;
use store::query::{Query, ask};
use store::view::{LedgerScope, SessionFilter, Tally};
use types::{AgentId, Timestamp};

use crate::configured::Shown;
use crate::gateway::{Gateway, unreadable};
use crate::methods::{last_restart, usage};
use crate::notice;
use crate::standing;

/// How old a snapshot of health may be. Every connection is given one at its start, and a fleet
/// of clients that comes back after a restart must not read everything once each.
const FRESH: Duration = Duration::from_secs(5);

/// Sessions that are named.
const RECENT_MAX: usize = 5;

/// Runs in line that are named.
const LINES_MAX: usize = 10;

/// The last snapshot, and the configuration that it was made with.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Option<(Arc<Shown>, Health)>>);

impl Cache {
    fn fresh(&self, shown: &Arc<Shown>, now: Timestamp) -> Option<Health> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, health) = cached.as_ref()?;
        let fresh = Arc::ptr_eq(of, shown) && now.since(health.ts) < FRESH;
        fresh.then(|| health.clone())
    }

    fn keep(&self, shown: Arc<Shown>, health: &Health) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *cached = Some((shown, health.clone()));
    }
}

/// `health`. An answer says that the store can be read.
pub async fn health(gateway: &Gateway, params: &HealthParams) -> Result<Health, ErrorShape> {
    let shown = gateway.shown();
    if !params.probe
        && let Some(health) = gateway.health.fresh(&shown, gateway.now())
    {
        return Ok(health);
    }
    let asked = gateway.now();
    let ids: Vec<AgentId> = gateway.handle.config().agents.keys().cloned().collect();
    let agents = ids.clone();
    let path = gateway.info.database.display().to_string();
    let read = ask(gateway.handle.store(), move |rows| {
        let all = sessions_health(rows, path.clone(), asked, None)?;
        let each = agents.into_iter();
        let each = each.map(|agent| sessions_health(rows, path.clone(), asked, Some(agent)));
        Ok((all, each.collect::<Result<Vec<_>, _>>()?))
    });
    let (all, of_agents) = read.await.map_err(unreadable)?;
    let health = Health {
        ok: true,
        ts: asked,
        duration_ms: u64::try_from(gateway.now().since(asked).as_millis()).unwrap_or(u64::MAX),
        channels: BTreeMap::new(),
        channel_order: Vec::new(),
        channel_labels: BTreeMap::new(),
        heartbeat_seconds: 0,
        default_agent_id: gateway.default_agent(),
        agents: agent_health(gateway, ids, of_agents),
        sessions: all,
    };
    gateway.health.keep(shown, &health);
    Ok(health)
}

fn agent_health(
    gateway: &Gateway,
    agents: Vec<AgentId>,
    sessions: Vec<SessionsHealth>,
) -> Vec<AgentHealth> {
    let default = gateway.default_agent();
    let health = agents.into_iter().zip(sessions).map(|(agent, sessions)| AgentHealth {
        is_default: agent == default,
        agent_id: agent,
        name: None,
        heartbeat: Heartbeat::off(),
        sessions,
    });
    health.collect()
}

/// How many sessions there are, and which were last active: of one agent, or of all.
fn sessions_health(
    rows: &dyn Query,
    path: String,
    now: Timestamp,
    agent: Option<AgentId>,
) -> Result<SessionsHealth, StoreError> {
    let filter = SessionFilter { agent, limit: RECENT_MAX, ..SessionFilter::default() };
    let count = rows.count_sessions(&filter)?;
    Ok(SessionsHealth { path, count, recent: recent(rows, &filter, now)? })
}

fn recent(
    rows: &dyn Query,
    filter: &SessionFilter,
    now: Timestamp,
) -> Result<Vec<RecentSession>, StoreError> {
    let sessions = rows.sessions(filter)?.into_iter().map(|session| RecentSession {
        age: u64::try_from(now.since(session.active).as_millis()).ok(),
        updated_at: Some(session.active),
        key: session.key,
    });
    Ok(sessions.collect())
}

/// What one snapshot of the store tells a status.
struct Counted {
    sessions: SessionsHealth,
    tally: Tally,
    lanes: Vec<Lane>,
    ledger: Ledger,
    lines: Vec<QueueWait>,
    gates: Vec<ProviderGate>,
    /// Runs that are looked after, by whether something was found.
    stopping: u64,
    unproved: Vec<StopItem>,
    restart: Option<LastRestart>,
    over_budget: Vec<BudgetRow>,
}

/// `status`
pub async fn status(gateway: &Gateway, params: &StatusParams) -> Result<Status, ErrorShape> {
    let now = gateway.now();
    let path = gateway.info.database.display().to_string();
    let (wanted, limits) = (params.last_restart, Arc::clone(&gateway.handle.config().limits));
    if wanted {
        last_restart::settled(gateway).await?;
    }
    let counted = ask(gateway.handle.store(), move |rows| {
        let counted = count(rows, path, now, &limits)?;
        let restart = if wanted { last_restart::report(rows, now, &limits)? } else { None };
        Ok(Counted { restart, ..counted })
    });
    let counted = counted.await.map_err(unreadable)?;
    let tally = counted.tally;
    Ok(Status {
        runtime_version: gateway.info.version.clone(),
        ts: now,
        uptime_ms: gateway.uptime_ms(),
        node_id: gateway.info.node.to_string(),
        default_agent_id: gateway.default_agent(),
        sessions: counted.sessions,
        runs: RunCounts {
            queued: tally.runs_queued,
            running: tally.runs_running,
            waiting: tally.runs_waiting,
            stopping: counted.stopping,
            unproved: counted.unproved.len() as u64,
        },
        tasks: TaskCounts { open: tally.tasks_open, ended: tally.tasks_ended },
        lanes: counted.lanes,
        activity: by_activity(&tally),
        ledger: counted.ledger,
        queue_waits: counted.lines,
        gates: counted.gates,
        over_budget: counted.over_budget,
        config: Some(gateway.info.configured.standing()),
        dead_letters: tally.dead_letters,
        approvals: waiting(&tally, now),
        unproved: counted.unproved,
        last_restart: counted.restart,
    })
}

fn count(
    rows: &dyn Query,
    path: String,
    now: Timestamp,
    limits: &Limits,
) -> Result<Counted, StoreError> {
    let total = rows.ledger(&LedgerScope::All)?;
    let lanes = rows.lanes()?;
    let late = Timestamp(now.ms().saturating_sub(QUEUE_NOTICES[0].as_millis() as i64));
    let lines = rows.lines(late, LINES_MAX)?.into_iter();
    let lines = lines.map(|line| notice::line_row(line, &lanes, now)).collect();
    let gates = rows.gates()?.into_iter().map(|gate| notice::gate_row(gate, now)).collect();
    let lanes = lanes.into_iter().map(|lane| Lane {
        name: lane.name.to_string(),
        limit: lane.capacity.into(),
        busy: lane.held.into(),
        queued: lane.queued.into(),
        holders: lane.holders,
    });
    let over_budget = rows.budgets(usage::BUDGETS_MAX)?.into_iter().filter(|view| view.waiting > 0);
    let (stopping, unproved) = standing::unproved(rows)?;
    let tally = rows.tally(now)?;
    let newest = SessionFilter { limit: RECENT_MAX, ..SessionFilter::default() };
    let recent = recent(rows, &newest, now)?;
    Ok(Counted {
        stopping,
        unproved,
        restart: None,
        over_budget: over_budget.filter_map(|view| usage::budget_row(view, limits)).collect(),
        lines,
        gates,
        sessions: SessionsHealth { path, count: tally.sessions, recent },
        tally,
        lanes: lanes.collect(),
        ledger: Ledger { calls: total.rows, estimated_calls: total.estimated, usage: total.usage },
    })
}

/// How many commands wait to be allowed, and for how long the oldest does.
fn waiting(tally: &Tally, now: Timestamp) -> Waiting {
    let oldest = tally.approval_since.map_or(0, |since| now.since(since).as_millis());
    Waiting { count: tally.approvals, oldest_ms: u64::try_from(oldest).unwrap_or(u64::MAX) }
}

/// Sessions by what they do: each has one open run, or none and is idle.
fn by_activity(tally: &Tally) -> BTreeMap<String, u64> {
    let open = [
        (Activity::Queued, tally.runs_queued),
        (Activity::Running, tally.runs_running),
        (Activity::Waiting, tally.runs_waiting),
        (Activity::Recovering, tally.runs_recovering),
    ];
    let busy: u64 = open.iter().map(|(_, count)| count).sum();
    let idle = (Activity::Idle, tally.sessions.saturating_sub(busy));
    let all = open.into_iter().chain([idle]).filter(|(_, count)| *count > 0);
    all.map(|(activity, count)| (activity.to_string(), count)).collect()
}
