//! A gateway with a folder and a free port of its own, driven as a user drives it.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use super::client::Client;
use super::database::Database;
use super::process::Process;
use crate::run;

/// How long a start may take before we give up. A hundred times what is promised.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long a gateway may take to bring its runs to the next committed step.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The state folder, below the folder of a bench.
const STATE: &str = "state";

/// Small against the time to ready that we measure.
const POLL: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct Gateway {
    process: Process,
    port: u16,
    binary: PathBuf,
    folder: PathBuf,
    /// From the start of the process until `/readyz` said yes.
    pub ready_after: Duration,
}

impl Gateway {
    /// Starts `binary` on `folder` with nothing configured but the port, and returns when it is
    /// ready for work.
    pub fn start(binary: &Path, folder: &Path) -> anyhow::Result<Gateway> {
        Gateway::start_with(binary, folder, json!({}))
    }

    /// As [`Gateway::start`], with more in the configuration.
    pub fn start_with(
        binary: &Path,
        folder: &Path,
        mut settings: Value,
    ) -> anyhow::Result<Gateway> {
        let port = free_port()?;
        // The commands find the gateway through the file, as a user's do.
        let config = folder.join("windlass.json");
        settings["gateway"]["port"] = json!(port);
        std::fs::write(&config, settings.to_string())
            .with_context(|| format!("cannot write {}", config.display()))?;
        let log = folder.join("gateway.log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = windlass(binary, folder);
        command.args(["gateway", "--port", &port.to_string()]);
        command.stdout(file.try_clone()?).stderr(file);

        let start = Instant::now();
        let mut process = Process::start(&mut command)?;
        wait_until_ready(&format!("http://127.0.0.1:{port}/readyz"), || process.ended_early())
            .map_err(|error| anyhow!("{error:#}; its last words:\n{}", last_words(&log)))?;
        let ready_after = start.elapsed();
        let (binary, folder) = (binary.to_path_buf(), folder.to_path_buf());
        Ok(Gateway { process, port, binary, folder, ready_after })
    }

    /// Connects as a program of the person who owns the folder.
    pub fn connect(&self) -> anyhow::Result<Client> {
        let file = self.folder.join(STATE).join("gateway.token");
        let token = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Client::connect(self.port, token.trim())
    }

    pub fn database(&self) -> Database {
        Database::new(self.folder.join(STATE).join("windlass.db"))
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Runs one command of the binary against this gateway. Returns the JSON values that it
    /// printed, and how long it took.
    pub fn ask(&self, args: &[&str]) -> anyhow::Result<(Vec<Value>, Duration)> {
        let start = Instant::now();
        let text = run::capture(windlass(&self.binary, &self.folder).args(args))?;
        let took = start.elapsed();
        let values: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_str(&text).into_iter().collect();
        let values =
            values.with_context(|| format!("`windlass {}` printed no JSON", args.join(" ")))?;
        Ok((values, took))
    }

    /// Asks the gateway to end, which it must do cleanly.
    pub fn stop(self) -> anyhow::Result<()> {
        let status = self.process.terminate(STOP_WITHIN)?;
        if !status.success() {
            bail!("the gateway was asked to end, and failed ({status})");
        }
        Ok(())
    }
}

impl Process {
    /// An error if the process is gone, although nobody ended it.
    fn ended_early(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            Some(status) => bail!("the gateway ended before it was ready ({status})"),
            None => Ok(()),
        }
    }
}

/// The binary with the settings that tie it to `folder`. Its state is in a folder below,
/// which it makes: a first start is what users see first.
fn windlass(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env("WINDLASS_STATE_DIR", folder.join(STATE));
    command.env("WINDLASS_CONFIG_PATH", folder.join("windlass.json"));
    command
}

/// A port that was free just now.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on the loopback")?;
    Ok(listener.local_addr()?.port())
}

/// Asks `url` until it answers with success. `alive` ends the wait with its error.
fn wait_until_ready(
    url: &str,
    mut alive: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let timeout = Some(Duration::from_secs(1));
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(timeout).build().into();
    let start = Instant::now();
    while start.elapsed() < READY_WITHIN {
        if agent.get(url).call().is_ok() {
            return Ok(());
        }
        alive()?;
        std::thread::sleep(POLL);
    }
    bail!("the gateway was not ready after {READY_WITHIN:?}")
}

/// The end of a log, for an error message.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn ready_is_a_success_and_not_just_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let answers = ["503 Service Unavailable", "200 OK"];
            for status in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let _ = socket.read(&mut [0; 1024]).unwrap();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
                write!(socket, "{head}Connection: close\r\n\r\n").unwrap();
            }
        });
        let mut asked = 0;
        let alive = || {
            asked += 1;
            Ok(())
        };
        wait_until_ready(&url, alive).unwrap();
        assert_eq!(asked, 1);
        server.join().unwrap();
    }

    #[test]
    fn a_gateway_that_dies_at_once_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("windlass");
        std::fs::write(&binary, "#!/bin/sh\necho no such folder >&2\nexit 4\n").unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Gateway::start(&binary, folder.path()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "the gateway ended before it was ready (exit status: 4); its last words:\n\
             no such folder"
        );
    }
}
