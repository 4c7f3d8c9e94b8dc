//! `mcp`: the servers that bring tools, as they are started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mcp::{Reach, ServerConfig, Servers};
use uuid::Uuid;
use windlass::config::{Config, McpServer, Secret, Transport};

/// Servers as a configuration has them.
#[derive(Clone, Debug)]
pub struct Wanted {
    configs: Vec<ServerConfig>,
    /// Of the state folder; empty if there never was a server.
    mark: String,
    idle: Option<Duration>,
    roots: Vec<PathBuf>,
}

/// The servers of a gateway. Nothing is started yet.
pub fn open(config: &Config, state: &Path) -> anyhow::Result<Arc<Servers>> {
    let mut configs = Vec::new();
    for (name, server) in enabled(config) {
        match of(name, server) {
            Ok(config) => configs.push(config),
            // The others, and all else, can do without it.
            Err(error) => tracing::error!(server = name, "left out: {error:#}"),
        }
    }
    let Wanted { configs, mark, idle, roots } = around(config, configs, state)?;
    Ok(Arc::new(Servers::new(configs, state, mark, idle, &roots)))
}

/// What a changed configuration wants. A server that cannot be had is an error here: nobody loses
/// a server by a slip.
pub fn wanted(config: &Config, state: &Path) -> anyhow::Result<Wanted> {
    let told = |(name, server): (&String, &McpServer)| {
        of(name, server).with_context(|| format!("mcp.servers.{name}"))
    };
    let configs = enabled(config).map(told).collect::<anyhow::Result<_>>()?;
    around(config, configs, state)
}

fn enabled(config: &Config) -> impl Iterator<Item = (&String, &McpServer)> {
    config.mcp.servers.iter().filter(|(_, server)| server.enabled)
}

fn around(config: &Config, configs: Vec<ServerConfig>, state: &Path) -> anyhow::Result<Wanted> {
    let mark = match configs.is_empty() {
        true => mcp::known_mark(state).unwrap_or_default(),
        false => mcp::mark(state, &Uuid::new_v4().simple().to_string())?,
    };
    let idle = Duration::from_millis(config.mcp.session_idle_ttl_ms);
    let idle = (!idle.is_zero()).then_some(idle);
    Ok(Wanted { configs, mark, idle, roots: roots(config) })
}

impl Wanted {
    /// Lets these be the servers from now on.
    pub fn serve(self, servers: &Servers) {
        let Wanted { configs, mark, idle, roots } = self;
        servers.serve(configs, mark, idle, &roots);
    }
}

/// The folders that agents work in.
pub fn roots(config: &Config) -> Vec<PathBuf> {
    config.agents.entries.values().map(|agent| agent.workspace.clone()).collect()
}

/// One server, its secrets told. A command that tells one is run here.
pub fn of(name: &str, server: &McpServer) -> anyhow::Result<ServerConfig> {
    let reach = match server.transport {
        Transport::Stdio => Reach::Stdio {
            command: server.command.clone().unwrap_or_default(),
            args: server.args.clone(),
            env: exposed(&server.env)?,
            cwd: server.cwd.clone(),
        },
        Transport::StreamableHttp => Reach::Http {
            url: server.url.clone().unwrap_or_default(),
            headers: exposed(&server.headers)?,
        },
    };
    Ok(ServerConfig {
        name: name.to_owned(),
        reach,
        connect_timeout: Duration::from_millis(server.connection_timeout_ms),
        call_timeout: Duration::from_millis(server.request_timeout_ms),
        include: server.tool_filter.include.clone(),
        exclude: server.tool_filter.exclude.clone(),
        trusted: server.trusted,
        parallel: server.supports_parallel_tool_calls,
    })
}

fn exposed(values: &BTreeMap<String, Secret>) -> anyhow::Result<BTreeMap<String, String>> {
    let told = values.iter().map(|(name, value)| Ok((name.clone(), value.expose()?.to_owned())));
    told.collect()
}
