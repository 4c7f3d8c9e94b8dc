//! The parts of a gateway, built from the configuration, started and stopped in order.

pub mod models;
mod reload;
mod rules;
pub mod servers;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use machine::Limits;
use machine::limits::{AgentLimits, AllowAgents, Budgets, Compaction, QueueLimits, SendLimits};
use machine::rows::LaneName;
use mcp::Servers;
use runtime::driver::Incarnation;
use runtime::{Agent, Clock, Driver, DriverError, SystemClock};
use store::Sqlite;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tools::{Source, Toolbox, sandbox};
use types::{AgentId, NodeId};
use uuid::Uuid;

use crate::Exit;
use crate::address::Listed;
use crate::roster::FileRoster;
use crate::setup::{Setup, TOKEN_FILE};
use crate::wire::reload::Reloader;
use windlass::config::{self, AuthMode, Config};

/// The store is in doubt: only a new start can tell what is on the disk. (`EX_IOERR`)
const EXIT_STORE: u8 = 74;

/// The state folder cannot be used: another gateway has it, or it cannot be written.
/// (`EX_TEMPFAIL`)
const EXIT_FOLDER: u8 = 75;

/// How long runs may take to reach their next committed step when the gateway stops.
const DRAIN: Duration = Duration::from_secs(30);

/// Folder of the state folder for what commands in a sandbox need.
const SANDBOX_FOLDER: &str = "sandbox";

/// What ends a gateway.
#[derive(Clone, Debug)]
pub enum Until {
    Signal,
    /// A signal, or the end of whoever holds the other end of stdin, however it ends.
    StdinCloses,
    /// A signal, or whoever has started it in this process.
    Told(CancellationToken),
}

/// What a gateway can ask, by `provider/model`.
pub type Models = BTreeMap<String, runtime::Model>;

/// Runs a gateway until it is ended. `listening` is told its URL.
pub async fn run(setup: Setup, until: Until, listening: impl FnOnce(&str)) -> anyhow::Result<()> {
    run_with(setup, until, |_| {}, listening).await
}

/// As [`run`], with other models than those of the configuration, until its file changes.
pub async fn run_with(
    setup: Setup,
    until: Until,
    change: impl FnOnce(&mut Models),
    listening: impl FnOnce(&str),
) -> anyhow::Result<()> {
    make_private_dir(setup.state_dir())?;
    let servers = servers::open(&setup.config, setup.state_dir())?;
    let mut built = runtime_config(&setup)?;
    change(&mut built.0.models);
    let config = built.with(&setup, &servers)?;
    let limits = Arc::clone(&config.limits);
    let shown = shown(&setup.config)?;
    let token = token(&setup)?;
    let gateway = gateway_config(&setup, token)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let node = NodeId::new(mint(&*clock));
    let store = Sqlite::open(setup.state_dir(), limits, node, machine::apply)
        .map_err(|error| Exit { code: EXIT_FOLDER, message: error.to_string() })?;
    let store = Arc::new(store);
    runtime::leftovers::end_all(&*store).await?;
    if let Some(mark) = mcp::known_mark(setup.state_dir()) {
        mcp::end_leftovers(&mark).await;
    }
    try_sandbox(&setup).await;
    let listener = gateway::bind(&gateway).await?;
    let address = listener.local_addr()?;
    let url = format!("ws://{address}");
    let _listed = Listed::new(setup.state_dir(), address).map_err(|error| Exit {
        code: EXIT_FOLDER,
        message: format!("cannot write to {}: {error}", setup.state_dir().display()),
    })?;

    let drain = drained_by(until)?;
    let (driver, handle) = Driver::new(store, Arc::clone(&clock), Arc::new(config), drain.clone());
    let config_path = setup.config_path.clone();
    let (state_dir, database) =
        (setup.state_dir().to_owned(), setup.state_dir().join(store::sqlite::FILE));
    let roster = FileRoster(setup.clone());
    let reloader = Reloader::new(setup, shown, handle.clone(), Arc::clone(&servers));
    let reloader = Arc::new(reloader);
    let info = gateway::Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node,
        state_dir,
        database,
        config_path,
        clock: Arc::clone(&clock),
        configured: Arc::clone(&reloader) as Arc<dyn gateway::Configured>,
        roster: Some(Arc::new(roster)),
    };
    let closed = CancellationToken::new();
    let serving = tokio::spawn(gateway::serve(listener, gateway, handle, info, closed.clone()));
    let watching = tokio::spawn(watch::watch(reloader, drain));
    listening(&url);
    let who = Incarnation {
        node,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let driven = driver.run(who).await;
    closed.cancel();
    watching.abort();
    servers.stop().await;
    // The sockets are told of the shutdown; a client that does not listen is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
    driven.map_err(|error: DriverError| Exit { code: EXIT_STORE, message: error.to_string() })?;
    Ok(())
}

/// What begins to drain a gateway when it is cancelled.
fn drained_by(until: Until) -> anyhow::Result<CancellationToken> {
    let (drain, by_stdin) = match until {
        Until::Told(token) => (token, false),
        Until::Signal => (CancellationToken::new(), false),
        Until::StdinCloses => (CancellationToken::new(), true),
    };
    stop_on_signal(drain.clone())?;
    if by_stdin {
        stop_with_stdin(drain.clone());
    }
    Ok(drain)
}

/// A terminal that is closed drains like a request to stop, unless whoever has started us (`nohup`)
/// wants it to be ignored.
fn hangup() -> anyhow::Result<Option<Signal>> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    if ignored.is_some_and(|mask| mask & 1 == 1) {
        return Ok(None);
    }
    Ok(Some(signal(SignalKind::hangup())?))
}

/// The first signal drains; the second is as good as kill -9, and as harmless.
fn stop_on_signal(drain: CancellationToken) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = hangup()?;
    tokio::spawn(async move {
        next(&mut term, &mut int, &mut hup).await;
        drain.cancel();
        next(&mut term, &mut int, &mut hup).await;
        exit_at_once();
    });
    Ok(())
}

/// A thread of its own, which nobody waits for: a read of stdin cannot be taken back.
fn stop_with_stdin(drain: CancellationToken) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drain.cancel();
    });
}

async fn next(term: &mut Signal, int: &mut Signal, hup: &mut Option<Signal>) {
    let hung_up = async {
        match hup {
            Some(hup) => hup.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hung_up => {}
    }
}

#[expect(clippy::disallowed_methods, reason = "a person has asked twice: nothing is waited for")]
fn exit_at_once() {
    std::process::exit(130);
}

fn mint(clock: &dyn Clock) -> Uuid {
    machine::At::new(clock.now(), clock.seed(), NodeId::new(Uuid::nil())).mint()
}

/// Conversations are private: nobody else on the machine may read the folder.
fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Exit {
            code: EXIT_FOLDER,
            message: format!("cannot make the state folder {}: {error}", dir.display()),
        })
        .map_err(Into::into)
}

/// The configured token, or the one of the state folder, which the first start makes.
fn token(setup: &Setup) -> anyhow::Result<Option<String>> {
    let known = setup.local_token()?;
    if known.is_some() || setup.config.gateway.auth.mode == AuthMode::None {
        return Ok(known);
    }
    let token = Uuid::new_v4().simple().to_string();
    let path = setup.state_dir().join(TOKEN_FILE);
    write_private(&path, &token).map_err(|error| Exit {
        code: EXIT_FOLDER,
        message: format!("cannot write {}: {error}", path.display()),
    })?;
    Ok(Some(token))
}

/// Writes a file that nobody else may read. It gets its name when it is whole: an empty token
/// would keep the next start from starting.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)
}

fn gateway_config(setup: &Setup, token: Option<String>) -> anyhow::Result<gateway::Config> {
    let gateway = &setup.config.gateway;
    Ok(gateway::Config {
        address: gateway.address(),
        port: gateway.port,
        token: token.map(|token| token.parse()).transpose()?,
    })
}

/// What clients see of a configuration.
fn shown(config: &Config) -> anyhow::Result<gateway::Shown> {
    let gateway = &config.gateway;
    let origins = gateway.control_ui.allowed_origins.iter().map(|origin| origin.parse());
    Ok(gateway::Shown {
        default_agent: config.agents.default_id().clone(),
        agents: titles(config),
        providers: models::keys(config),
        allowed_origins: origins.collect::<Result<_, _>>()?,
        chat_completions: gateway.http.endpoints.chat_completions.enabled,
    })
}

/// A configuration of the runtime that lacks the tools of servers.
struct Toolless(runtime::Config);

impl Toolless {
    /// With the tools that servers are known to bring at this moment.
    fn with(self, setup: &Setup, servers: &Arc<Servers>) -> anyhow::Result<runtime::Config> {
        let limits = Arc::new(limits(&setup.config, Some(&servers.toolbox()))?);
        let more = Some(Arc::clone(servers) as Arc<dyn Source>);
        Ok(runtime::Config { limits, more, ..self.0 })
    }
}

fn runtime_config(setup: &Setup) -> anyhow::Result<Toolless> {
    let config = &setup.config;
    let tools = tools::Config {
        memory_index: Some(setup.state_dir().join("memory")),
        processes: Some(setup.state_dir().join("processes")),
        sandbox: sandbox(setup),
        ..tools_config(config)
    };
    let agents = config.agents.entries.iter();
    let agents = agents.map(|(id, agent)| {
        let (name, description) = (agent.name.clone(), agent.description.clone());
        let (workspace, bootstrap) = (agent.workspace.clone(), bootstrap(config, agent));
        let (sandbox, skills) = (sandbox_mode(config, agent), allowed_skills(agent));
        (id.clone(), Agent { workspace, bootstrap, skills, name, description, sandbox })
    });
    Ok(Toolless(runtime::Config {
        limits: Arc::new(limits(config, None)?),
        agents: agents.collect(),
        models: models::usable(config)?,
        tuning: models::tuning(config),
        tools,
        more: None,
        skills: Arc::new(skills(config, setup.state_dir())?),
        drain: DRAIN,
    }))
}

/// Where skills are, and which are used.
pub fn skills(config: &Config, state_dir: &Path) -> anyhow::Result<runtime::Skills> {
    let skills = &config.skills;
    Ok(runtime::Skills {
        user: state_dir.join("skills"),
        extra: skills.load.extra_dirs.clone(),
        disabled: skills.disabled(),
        bundled: skills.allow_bundled.clone().map(|names| names.into_iter().collect()),
        listed_max: skills.limits.max_skills_in_prompt as usize,
        chars_max: skills.limits.max_skills_prompt_chars as usize,
        file_bytes_max: skills.limits.max_skill_file_bytes,
        config: Arc::new(serde_json::to_value(config)?),
    })
}

/// The skills that an agent may use; all if none.
pub fn allowed_skills(agent: &config::Agent) -> Option<BTreeSet<String>> {
    agent.skills.clone().map(|names| names.into_iter().collect())
}

/// What of an agent's workspace is sent.
fn bootstrap(config: &Config, agent: &config::Agent) -> runtime::Bootstrap {
    runtime::Bootstrap {
        fill: !config.agents.defaults.bootstrap.skip_bootstrap,
        file_chars_max: agent.bootstrap.bootstrap_max_chars as usize,
        total_chars_max: agent.bootstrap.bootstrap_total_max_chars as usize,
    }
}

/// What walls around commands are made of.
pub fn sandbox(setup: &Setup) -> sandbox::Settings {
    let exec = &setup.config.tools.exec;
    sandbox::Settings {
        backend: Some(exec.sandbox_backend),
        folder: Some(setup.state_dir().join(SANDBOX_FOLDER)),
        hidden: vec![setup.state_dir().to_owned(), setup.config_file().to_owned()],
        read: exec.sandbox_read.clone(),
        // This very file, also when another has taken its name since.
        launcher: Some("/proc/self/exe".into()),
    }
}

/// How the commands of an agent are kept.
pub fn sandbox_mode(config: &Config, agent: &config::Agent) -> sandbox::Mode {
    agent.tools.exec.sandbox.unwrap_or(config.tools.exec.sandbox)
}

/// Tries the walls that some agent is to have, so that whoever starts the gateway hears of it now
/// and not with the first command. What earlier commands have left of temporary files goes.
async fn try_sandbox(setup: &Setup) {
    let folder = setup.state_dir().join(SANDBOX_FOLDER);
    if let Err(error) = fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %folder.display(), %error, "temporary files are left");
    }
    for kept in crate::commands::sandbox::look(setup).await {
        let (agent, mode) = (&kept.agent, kept.mode);
        if let Some(why) = kept.refused {
            tracing::warn!(agent, %mode, why, "commands are refused: there is no such sandbox");
        } else if let Some(backend) = kept.backend {
            tracing::info!(agent, %mode, %backend, "commands are kept in a sandbox");
        }
    }
}

fn tools_config(config: &Config) -> tools::Config {
    tools::Config {
        exec_timeout: Duration::from_secs(config.tools.exec.timeout_seconds),
        exec_yield: Duration::from_millis(config.tools.exec.background_ms),
        exec_keep: Duration::from_millis(config.tools.exec.cleanup_ms),
        apply_patch: config.tools.exec.apply_patch.enabled,
        web_fetch: rules::web_fetch(&config.tools.web.fetch),
        ..tools::Config::default()
    }
}

/// What people call the agents.
fn titles(config: &Config) -> BTreeMap<AgentId, gateway::Title> {
    let title = |agent: &config::Agent| gateway::Title {
        name: agent.name.clone(),
        description: agent.description.clone(),
    };
    config.agents.entries.iter().map(|(id, agent)| (id.clone(), title(agent))).collect()
}

/// What the machine decides by; `more` are the tools that servers are known to bring.
pub fn limits(config: &Config, more: Option<&Toolbox>) -> anyhow::Result<Limits> {
    let defaults = &config.agents.defaults;
    let subagents = &defaults.subagents;
    let queue = &config.messages.queue;
    let base = Limits::default();
    let mut lanes = base.lanes.clone();
    lanes.insert(LaneName::Main, defaults.max_concurrent);
    lanes.insert(LaneName::Subagent, subagents.max_concurrent);
    Ok(Limits {
        lanes,
        agents: config
            .agents
            .entries
            .iter()
            .map(|(id, agent)| (id.clone(), agent_limits(config, agent)))
            .collect(),
        models: models::windows(config),
        rates: models::rates(config),
        aliases: models::aliases(config),
        accounts: models::accounts(config),
        answers_as: models::answers_as(config),
        traits: models::traits(config),
        thinking: defaults.thinking_default,
        price_ids: models::price_ids(config),
        budgets: Budgets {
            day: config.budget.day,
            agent: config.budget.agent,
            tree: config.budget.tree,
        },
        tools: rules::tools(config, &tools_config(config), more),
        providers: models::limits(config),
        spawn_depth_max: subagents.max_spawn_depth,
        children_max: subagents.max_children_per_agent,
        tasks_per_tree_max: subagents.max_tasks_per_tree,
        queue: QueueLimits {
            mode: queue.mode.as_str().parse()?,
            debounce: Duration::from_millis(queue.debounce_ms),
            cap: queue.cap as usize,
            drop: queue.drop.as_str().parse()?,
        },
        send: send_limits(config),
        compaction: compaction(config),
        ..base
    })
}

/// When conversations are made smaller.
fn compaction(config: &Config) -> Compaction {
    let configured = &config.agents.defaults.compaction;
    Compaction {
        enabled: configured.enabled,
        // Of 1,000, so that nothing depends on how a machine rounds.
        soft_permille: (configured.soft_ratio * 1_000.0).round() as u32,
        keep_recent_tokens: configured.keep_recent_tokens,
        notes: configured.memory_flush.enabled,
    }
}

/// Who may write to whom.
fn send_limits(config: &Config) -> SendLimits {
    let between = &config.tools.agent_to_agent;
    SendLimits {
        enabled: between.enabled,
        allow: match &between.allow {
            config::AllowAgents::Listed(ids) => AllowAgents::These(ids.clone()),
            config::AllowAgents::Own | config::AllowAgents::Any => AllowAgents::All,
        },
        visibility: config.tools.sessions.visibility,
        hops_max: config.session.agent_to_agent.max_ping_pong_turns,
    }
}

fn fallbacks(choice: &config::ModelChoice) -> Vec<String> {
    choice.fallbacks.iter().map(ToString::to_string).collect()
}

fn agent_limits(config: &Config, agent: &config::Agent) -> AgentLimits {
    let defaults = &config.agents.defaults;
    let seconds = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    let warm = &agent.subagents.warm;
    let model = agent.model.as_ref().or(defaults.model.as_ref());
    let child_model = agent.subagents.model.as_ref().or(defaults.subagents.model.as_ref());
    AgentLimits {
        fallbacks: model.map(fallbacks).unwrap_or_default(),
        child_fallbacks: child_model.map(fallbacks).unwrap_or_default(),
        thinking: agent.thinking_default,
        model_thinking: models::thinking_of(agent),
        child_thinking: agent.subagents.thinking,
        model: model
            .map(|choice| choice.primary.clone())
            .or_else(|| models::by_key(config))
            .map(|model| model.to_string())
            .unwrap_or_default(),
        child_model: child_model.map(|choice| choice.primary.to_string()),
        allow_agents: match &agent.subagents.allow_agents {
            config::AllowAgents::Own => AllowAgents::These(Vec::new()),
            config::AllowAgents::Any => AllowAgents::All,
            config::AllowAgents::Listed(ids) => AllowAgents::These(ids.clone()),
        },
        require_agent: agent.subagents.require_agent_id,
        child_timeout: seconds(defaults.subagents.run_timeout_seconds),
        run_timeout: seconds(defaults.timeout_seconds),
        reuse: warm.reuse,
        reuse_key: warm.reuse_key.clone(),
        allow_reuse_main: warm.allow_reuse_main,
        archive_after: seconds(u64::from(warm.archive_after_minutes) * 60),
        budget: agent.budget,
        child_budget: agent.subagents.budget,
        exec: config.tools.exec.rules.with(&agent.tools.exec.rules),
    }
}
