//! What every command starts from: the configuration, the folder, and the way to the gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use machine::Limits;
use types::{AgentId, SessionKey};

use crate::address;
use crate::args::Global;
use crate::client::Target;
use crate::wire;
use crate::{EXIT_USAGE, Exit};
use windlass::config::{self, AuthMode, Config, Mode, Paths, Problem};

/// File of the state folder with the token that the gateway has made for itself.
pub const TOKEN_FILE: &str = "gateway.token";

#[derive(Clone, Debug)]
pub struct Setup {
    pub config: Config,
    /// The file, if there is one.
    pub config_path: Option<PathBuf>,
    pub warnings: Vec<Problem>,
    /// Print data as JSON.
    pub json: bool,
    paths: Paths,
    url: Option<String>,
    /// In the place of `gateway.port`.
    port: Option<u16>,
}

/// Where things are, by the environment and the command line.
pub fn paths(global: &Global) -> anyhow::Result<Paths> {
    let mut paths = Paths::from_env()?;
    if let Some(dir) = &global.state_dir {
        let named = paths.config_named;
        paths.state = std::path::absolute(dir)?;
        if !named {
            paths.config = paths.state.join("windlass.json");
        }
    }
    if let Some(file) = &global.config {
        paths.config = std::path::absolute(file)?;
        paths.config_named = true;
    }
    Ok(paths)
}

/// A variable that is empty is one that is not set.
fn url_of_environment() -> Option<String> {
    std::env::var("WINDLASS_GATEWAY_URL").ok().filter(|url| !url.is_empty())
}

/// Does the address lead to this machine?
fn is_near(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => authority.split(':').next() == Some("localhost"),
    }
}

impl Setup {
    pub fn load(global: &Global) -> anyhow::Result<Setup> {
        let paths = paths(global)?;
        let loaded = config::load(&paths).map_err(|error| Exit {
            code: EXIT_USAGE,
            message: format!("{:#}", anyhow::Error::from(error)),
        })?;
        Ok(Setup {
            config: loaded.config,
            config_path: loaded.path,
            warnings: loaded.warnings,
            json: global.json,
            paths,
            url: global.url.clone().or_else(url_of_environment),
            port: None,
        })
    }

    /// The same with a file that may be wrong: then every default stands, and why is returned. For
    /// commands that ask a running gateway, whatever has become of its file.
    pub fn load_or_default(global: &Global) -> anyhow::Result<(Setup, Option<anyhow::Error>)> {
        let wrong = match Setup::load(global) {
            Ok(setup) => return Ok((setup, None)),
            Err(error) => error,
        };
        let mut paths = paths(global)?;
        let file = std::mem::replace(&mut paths.config, paths.state.join("no file"));
        paths.config_named = false;
        let loaded = config::load(&paths)?;
        paths.config = file;
        let url = global.url.clone().or_else(url_of_environment);
        let (config, warnings) = (loaded.config, loaded.warnings);
        let json = global.json;
        let setup = Setup { config, config_path: None, warnings, json, paths, url, port: None };
        Ok((setup, Some(wrong)))
    }

    /// Listens at another port than the configured one, whatever the file says.
    pub fn set_port(&mut self, port: u16) {
        self.port = Some(port);
        self.config.gateway.port = port;
    }

    /// Changes the value at a path of the file, and returns where that is.
    pub fn edit(&self, path: &[&str], edit: config::Edit<'_>) -> anyhow::Result<PathBuf> {
        config::edit(&self.paths, &config::Process, path, edit)
    }

    /// Changes the file as `decide` says, which sees it as it is.
    pub fn change<T>(
        &self,
        decide: impl FnOnce(&config::Present) -> anyhow::Result<(Vec<config::Change>, T)>,
    ) -> anyhow::Result<config::Changed<T>> {
        config::change(&self.paths, &config::Process, decide)
    }

    /// The file as it is now, with what is written in it.
    pub fn present(&self) -> anyhow::Result<config::Present> {
        config::present(&self.paths, &config::Process)
    }

    /// A path of the file, as it is meant there.
    pub fn absolute(&self, path: &str) -> PathBuf {
        config::absolute(path, &self.paths)
    }

    /// The same, as the file is now.
    pub fn again(&self) -> anyhow::Result<Setup> {
        let loaded = config::load(&self.paths)?;
        let (json, url) = (self.json, self.url.clone());
        let (config, config_path, warnings) = (loaded.config, loaded.path, loaded.warnings);
        let (paths, port) = (self.paths.clone(), self.port);
        let mut setup = Setup { config, config_path, warnings, json, paths, url, port };
        if let Some(port) = port {
            setup.set_port(port);
        }
        Ok(setup)
    }

    /// Another gateway's, on a folder of its own.
    pub fn elsewhere(&self, config: Config, state: &Path) -> Setup {
        let config_file = state.join("windlass.json");
        let paths = Paths { state: state.to_owned(), config: config_file, ..self.paths.clone() };
        let (config_path, warnings) = (None, Vec::new());
        let (json, url, port) = (self.json, None, None);
        Setup { config, config_path, warnings, json, paths, url, port }
    }

    pub fn state_dir(&self) -> &Path {
        &self.paths.state
    }

    pub fn config_file(&self) -> &Path {
        &self.paths.config
    }

    /// The agent that is meant where none is named.
    pub fn default_agent(&self) -> AgentId {
        self.config.agents.default_id().clone()
    }

    /// Reads a key as a person types it.
    pub fn session_key(&self, text: &str, agent: Option<&str>) -> anyhow::Result<SessionKey> {
        let agent = match agent {
            Some(id) => id.parse()?,
            None => self.default_agent(),
        };
        Ok(SessionKey::resolve(text, &agent)?)
    }

    /// What the machine decides by.
    pub fn limits(&self) -> anyhow::Result<Limits> {
        wire::limits(&self.config, None)
    }

    /// Where the gateway is, and the secret that it wants.
    pub fn target(&self) -> anyhow::Result<Target> {
        let gateway = &self.config.gateway;
        let (url, token) = match (&self.url, gateway.mode) {
            (Some(url), _) => (url.clone(), gateway.remote.token.as_ref()),
            (None, Mode::Remote) => {
                let url = gateway.remote.url.clone();
                (url.context("gateway.remote.url is not set")?, gateway.remote.token.as_ref())
            }
            (None, Mode::Local) => {
                let configured = SocketAddr::new(gateway.near_address(), gateway.port);
                let address = address::of(self.state_dir()).unwrap_or(configured);
                let token = self.local_token()?;
                return Ok(Target { url: format!("ws://{address}"), token });
            }
        };
        let token = match token {
            Some(token) => Some(token.expose()?.to_owned()),
            // This machine's secret is for this machine.
            None if is_near(&url) => self.local_token()?,
            None => None,
        };
        Ok(Target { url, token })
    }

    /// The token of this folder's gateway: configured, or made by its first start.
    pub fn local_token(&self) -> anyhow::Result<Option<String>> {
        let auth = &self.config.gateway.auth;
        if auth.mode == AuthMode::None {
            return Ok(None);
        }
        if let Some(token) = &auth.token {
            return Ok(Some(token.expose()?.to_owned()));
        }
        let file = self.paths.state.join(TOKEN_FILE);
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn this_machines_secret_is_for_this_machine() {
        for url in ["ws://127.0.0.1:18789", "ws://localhost:1/x", "wss://[::1]:443", "localhost"] {
            assert!(is_near(url), "{url}");
        }
        for url in [
            "ws://10.0.0.1:18789",
            "ws://localhost.example.org",
            "ws://localhost@example.org:1",
            "ws://127.0.0.1.example.org:1",
            "ws://example.org/127.0.0.1:1",
        ] {
            assert!(!is_near(url), "{url}");
        }
    }
}
