//! `mcp`: the servers that bring tools, as they are started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mcp::{Reach, ServerConfig, Servers};
use uuid::Uuid;
use windlass::config::{Config, McpServer, Secret, Transport};

/// The servers of a gateway; none if none is configured. Nothing is started yet.
pub fn open(config: &Config, state: &Path) -> anyhow::Result<Option<Arc<Servers>>> {
    let enabled = config.mcp.servers.iter().filter(|(_, server)| server.enabled);
    let mut configs = Vec::new();
    for (name, server) in enabled {
        match of(name, server) {
            Ok(config) => configs.push(config),
            // The others, and all else, can do without it.
            Err(error) => tracing::error!(server = name, "left out: {error:#}"),
        }
    }
    if configs.is_empty() {
        return Ok(None);
    }
    let mark = mcp::mark(state, &Uuid::new_v4().simple().to_string())?;
    let idle = Duration::from_millis(config.mcp.session_idle_ttl_ms);
    let idle = (!idle.is_zero()).then_some(idle);
    Ok(Some(Arc::new(Servers::new(configs, state, mark, idle, &roots(config)))))
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
