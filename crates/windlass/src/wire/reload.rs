//! The configuration, read anew while the gateway runs: checked and built as a whole, then put in
//! the place of the one before. One that is wrong changes nothing, and is told of.
//!
//! ```text
//!  file ─▶ loaded ─▶ compared ─▶ built ─▶ servers, runtime and limits, what is shown
//!            └── wrong: the one before stays, and `status` says why
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use gateway::{Configured, Shown};
use mcp::Servers;
use protocol::config::{ConfigProblem, ConfigStanding, Rejected, ReloadResult, Reloaded};
use runtime::{Clock, Handle, SystemClock};
use types::Timestamp;
use windlass::config::{Changes, Config, ConfigErrors, Problem, ReloadMode};

use super::servers::{self, Wanted};
use super::{Toolless, runtime_config, shown};
use crate::setup::Setup;

/// Reads the configuration anew, one reading at a time.
#[derive(Debug)]
pub struct Reloader {
    /// As it was at the start.
    setup: Setup,
    handle: Handle,
    servers: Arc<Servers>,
    turn: tokio::sync::Mutex<()>,
    now: Mutex<Now>,
}

/// What holds.
#[derive(Debug)]
struct Now {
    config: Config,
    /// Was there a file?
    file: bool,
    shown: Arc<Shown>,
    applied: Timestamp,
    pending: Vec<String>,
    rejected: Option<Rejected>,
}

/// All parts of a configuration, ready to be used.
struct Built {
    setup: Setup,
    runtime: Toolless,
    shown: Shown,
    servers: Wanted,
}

impl Built {
    /// May take a while: commands that tell secrets are run here.
    fn of(setup: Setup) -> anyhow::Result<Built> {
        let runtime = runtime_config(&setup)?;
        let shown = shown(&setup.config)?;
        let servers = servers::wanted(&setup.config, setup.state_dir())?;
        Ok(Built { setup, runtime, shown, servers })
    }
}

impl Reloader {
    pub fn new(setup: Setup, shown: Shown, handle: Handle, servers: Arc<Servers>) -> Reloader {
        let now = Now {
            config: setup.config.clone(),
            file: setup.config_path.is_some(),
            shown: Arc::new(shown),
            applied: SystemClock.now(),
            pending: Vec::new(),
            rejected: None,
        };
        let (turn, now) = (tokio::sync::Mutex::default(), Mutex::new(now));
        Reloader { setup, handle, servers, turn, now }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // It is whole between any two calls, so a poisoned lock is usable.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is the file looked at without being asked?
    pub fn watches(&self) -> bool {
        self.now().config.gateway.reload.mode == ReloadMode::Hybrid
    }

    pub fn file(&self) -> &std::path::Path {
        self.setup.config_file()
    }

    /// The file as it is now.
    async fn load(&self) -> anyhow::Result<Setup> {
        let setup = self.setup.clone();
        let loaded = tokio::task::spawn_blocking(move || setup.again()).await.map_err(broken)??;
        if loaded.config_path.is_none() && self.now().file {
            return Err(anyhow!(
                "there is no file any more at {}; the next start would begin with every default",
                self.file().display()
            ));
        }
        Ok(loaded)
    }

    async fn read(&self, dry_run: bool) -> anyhow::Result<ReloadResult> {
        let setup = self.load().await?;
        let before = self.now().config.clone();
        let restart_pending = Changes::between(&self.setup.config, &setup.config).restart;
        let applied = Changes::between(&before, &setup.config).hot;
        let (path, rejected) = (self.file().display().to_string(), None);
        let open_runs = self.open_runs().await?;
        let status = match (before == setup.config, dry_run) {
            (true, _) => Reloaded::Unchanged,
            (false, true) => Reloaded::Checked,
            (false, false) => Reloaded::Applied,
        };
        let result = ReloadResult { status, path, applied, restart_pending, open_runs, rejected };
        if status == Reloaded::Unchanged {
            return Ok(result);
        }
        let warnings = setup.warnings.clone();
        let built = tokio::task::spawn_blocking(move || Built::of(setup));
        let built = built.await.map_err(broken)??;
        if dry_run {
            return Ok(result);
        }
        let held = self.apply(built, &before, &result.restart_pending).await?;
        told(&result, &warnings, held);
        Ok(ReloadResult { open_runs: held, ..result })
    }

    async fn open_runs(&self) -> anyhow::Result<u64> {
        let open = store::query::ask(self.handle.store(), |rows| rows.open_runs()).await?;
        Ok(open.len() as u64)
    }

    /// Puts a configuration in the place of `before`. Says how many runs go on with theirs.
    async fn apply(
        &self,
        built: Built,
        before: &Config,
        pending: &[String],
    ) -> anyhow::Result<u64> {
        let Built { setup, runtime, shown, servers } = built;
        // Whatever fails from here on, the servers are those of the configuration that holds.
        let again = servers::wanted(before, setup.state_dir());
        servers.serve(&self.servers);
        let swapped = match runtime.with(&setup, &self.servers) {
            Ok(config) => self.handle.reconfigure(config).await.context("it is not applied"),
            Err(error) => Err(error),
        };
        let held = match (swapped, again) {
            (Ok(held), _) => held,
            (Err(error), again) => {
                again.map(|wanted| wanted.serve(&self.servers))?;
                return Err(error);
            }
        };
        let mut now = self.now();
        now.config = setup.config.clone();
        now.file = setup.config_path.is_some();
        now.shown = Arc::new(shown);
        now.applied = SystemClock.now();
        now.pending = pending.to_vec();
        Ok(held as u64)
    }

    /// Notes that the file is right, or wrong. Says so once.
    fn note(&self, wrong: Option<&anyhow::Error>) -> Option<Rejected> {
        let mut now = self.now();
        let before = now.rejected.take();
        let Some(error) = wrong else {
            if before.is_some() {
                tracing::info!(path = %self.file().display(), "the configuration is right again");
            }
            return None;
        };
        let message = format!("{error:#}");
        let same = before.filter(|before| before.message == message);
        let rejected = same.unwrap_or_else(|| {
            tracing::warn!("the configuration that was applied last stays: {message}");
            Rejected { since: SystemClock.now(), message, problems: problems(error) }
        });
        now.rejected = Some(rejected.clone());
        Some(rejected)
    }
}

fn broken(error: tokio::task::JoinError) -> anyhow::Error {
    anyhow!("it could not be read: {error}")
}

/// What is wrong, by place.
fn problems(error: &anyhow::Error) -> Vec<ConfigProblem> {
    let Some(ConfigErrors::Invalid { problems, .. }) = error.downcast_ref() else {
        return Vec::new();
    };
    let problem = |Problem { place, key, message }: &Problem| ConfigProblem {
        line: place.map(|place| place.line as u64),
        column: place.map(|place| place.column as u64),
        key: key.clone(),
        message: message.clone(),
    };
    problems.iter().map(problem).collect()
}

fn told(result: &ReloadResult, warnings: &[Problem], held: u64) {
    let keys = result.applied.join(", ");
    tracing::info!(keys, open_runs = held, "the configuration has changed; open runs keep theirs");
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if !result.restart_pending.is_empty() {
        let keys = result.restart_pending.join(", ");
        tracing::warn!(keys, "these keys hold from the next start on");
    }
}

#[async_trait]
impl Configured for Reloader {
    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.now().shown)
    }

    fn standing(&self) -> ConfigStanding {
        let now = self.now();
        ConfigStanding {
            path: self.file().display().to_string(),
            watched: now.config.gateway.reload.mode == ReloadMode::Hybrid,
            applied_at: now.applied,
            restart_pending: now.pending.clone(),
            rejected: now.rejected.clone(),
        }
    }

    async fn reload(&self, dry_run: bool) -> ReloadResult {
        let _turn = self.turn.lock().await;
        let error = match self.read(dry_run).await {
            Ok(result) => {
                self.note(None);
                return result;
            }
            Err(error) => error,
        };
        let rejected = self.note(Some(&error));
        let restart_pending = self.now().pending.clone();
        ReloadResult {
            status: Reloaded::Rejected,
            path: self.file().display().to_string(),
            applied: Vec::new(),
            restart_pending,
            open_runs: 0,
            rejected,
        }
    }
}
