//! `health` and `status`: how the gateway is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use machine::rows::LaneName;
use machine::run::Phase;
use protocol::ErrorShape;
use protocol::health::{
    AgentHealth, Health, HealthParams, Heartbeat, Lane, Ledger, RecentSession, RunCounts,
    SessionsHealth, Status, TaskCounts,
};
use store::StoreError;
use store::query::{Query, ask};
use store::view::{LedgerScope, SessionFilter, SessionView, TaskFilter};
use types::{SessionKey, Timestamp};

use crate::gateway::{Gateway, unreadable};

/// How old a snapshot of health may be. Every connection is given one at its start, and a fleet
/// of clients that comes back after a restart must not read everything once each.
const FRESH: Duration = Duration::from_secs(5);

/// Rows that are counted. Counts stop there.
const COUNT_MAX: usize = 10_000;

/// Sessions that are named.
const RECENT_MAX: usize = 5;

/// The last snapshot.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Option<Health>>);

impl Cache {
    fn fresh(&self, now: Timestamp) -> Option<Health> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|health| now.since(health.ts) < FRESH).cloned()
    }

    fn keep(&self, health: &Health) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *cached = Some(health.clone());
    }
}

/// `health`. An answer says that the store can be read.
pub async fn health(gateway: &Gateway, params: &HealthParams) -> Result<Health, ErrorShape> {
    if !params.probe
        && let Some(health) = gateway.health.fresh(gateway.now())
    {
        return Ok(health);
    }
    let asked = gateway.now();
    let filter = SessionFilter { limit: COUNT_MAX, ..SessionFilter::default() };
    let sessions = gateway.handle.store().sessions(filter).await.map_err(unreadable)?;
    let health = Health {
        ok: true,
        ts: asked,
        duration_ms: u64::try_from(gateway.now().since(asked).as_millis()).unwrap_or(u64::MAX),
        channels: BTreeMap::new(),
        channel_order: Vec::new(),
        channel_labels: BTreeMap::new(),
        heartbeat_seconds: 0,
        default_agent_id: gateway.info.default_agent.clone(),
        agents: agents(gateway, &sessions),
        sessions: sessions_health(gateway, sessions.iter()),
    };
    gateway.health.keep(&health);
    Ok(health)
}

fn agents(gateway: &Gateway, sessions: &[SessionView]) -> Vec<AgentHealth> {
    let agents = gateway.handle.config().agents.keys();
    let health = agents.map(|agent| AgentHealth {
        agent_id: agent.clone(),
        name: None,
        is_default: *agent == gateway.info.default_agent,
        heartbeat: Heartbeat::off(),
        sessions: sessions_health(gateway, sessions.iter().filter(|s| s.agent == *agent)),
    });
    health.collect()
}

fn sessions_health<'a>(
    gateway: &Gateway,
    sessions: impl Iterator<Item = &'a SessionView>,
) -> SessionsHealth {
    let now = gateway.now();
    let (mut count, mut recent) = (0, Vec::new());
    for session in sessions {
        count += 1;
        if recent.len() < RECENT_MAX {
            let age = u64::try_from(now.since(session.active).as_millis()).ok();
            let updated_at = Some(session.active);
            recent.push(RecentSession { key: session.key.clone(), updated_at, age });
        }
    }
    SessionsHealth { path: gateway.info.database.display().to_string(), count, recent }
}

/// What one snapshot of the store tells a status.
struct Counted {
    sessions: Vec<SessionView>,
    tasks: TaskCounts,
    lanes: Vec<Lane>,
    ledger: Ledger,
}

/// `status`
pub async fn status(gateway: &Gateway) -> Result<Status, ErrorShape> {
    let now = gateway.now();
    let counted = ask(gateway.handle.store(), count).await.map_err(unreadable)?;
    let (runs, activity) = by_activity(&counted.sessions, now);
    Ok(Status {
        runtime_version: gateway.info.version.clone(),
        ts: now,
        uptime_ms: gateway.uptime_ms(),
        node_id: gateway.info.node.to_string(),
        default_agent_id: gateway.info.default_agent.clone(),
        sessions: sessions_health(gateway, counted.sessions.iter()),
        runs,
        tasks: counted.tasks,
        lanes: counted.lanes,
        activity,
        ledger: counted.ledger,
    })
}

fn count(rows: &dyn Query) -> Result<Counted, StoreError> {
    let filter = SessionFilter { limit: COUNT_MAX, ..SessionFilter::default() };
    let sessions = rows.sessions(&filter)?;
    let tasks = rows.tasks(&TaskFilter { limit: COUNT_MAX, ..TaskFilter::default() })?;
    let open = tasks.iter().filter(|task| task.outcome.is_none()).count() as u64;
    let total = rows.ledger(&LedgerScope::All)?;
    let lanes = rows.lanes()?.into_iter().map(|lane| Lane {
        name: lane.name.to_string(),
        limit: lane.capacity.into(),
        busy: lane.held.into(),
        queued: lane.queued.into(),
        holders: holders(&sessions, lane.name),
    });
    Ok(Counted {
        lanes: lanes.collect(),
        tasks: TaskCounts { open, ended: tasks.len() as u64 - open },
        ledger: Ledger { calls: total.rows, estimated_calls: total.estimated, usage: total.usage },
        sessions,
    })
}

fn holders(sessions: &[SessionView], lane: LaneName) -> Vec<SessionKey> {
    let holds = |session: &&SessionView| {
        session.open_run.as_ref().is_some_and(|run| run.lane == lane && run.phase.holds_slot())
    };
    sessions.iter().filter(holds).map(|session| session.key.clone()).collect()
}

fn by_activity(sessions: &[SessionView], now: Timestamp) -> (RunCounts, BTreeMap<String, u64>) {
    let (mut runs, mut activity) = (RunCounts::default(), BTreeMap::new());
    for session in sessions {
        let doing = session.words(now).activity.to_string();
        *activity.entry(doing).or_default() += 1;
        match session.open_run.as_ref().map(|run| run.phase) {
            None | Some(Phase::Ended(_)) => {}
            Some(Phase::Queued) => runs.queued += 1,
            Some(Phase::Waiting(_)) => runs.waiting += 1,
            Some(Phase::Preparing | Phase::AwaitingModel | Phase::AwaitingTools) => {
                runs.running += 1;
            }
        }
    }
    (runs, activity)
}
