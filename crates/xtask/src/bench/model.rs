//! The model behind the gateway: the stub, which answers at once.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::process::Process;

/// Wide enough for a parent that hears of a thousand children in one conversation.
const CONTEXT_WINDOW: u64 = 4_000_000;

/// A thousand calls in one answer are longer than what a model may say by default.
const MAX_TOKENS: u64 = 400_000;

/// How long the stub may take to close its journal.
const STOP_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Model {
    process: Process,
    url: String,
}

/// What a model was asked, in sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub requests: u64,
    /// Of the bodies.
    pub bytes: u64,
    /// From the arrival of each to the end of its answer.
    pub answering: Duration,
}

impl Model {
    pub fn start(stub: &Path) -> anyhow::Result<Model> {
        let mut command = Command::new(stub);
        command.args(["--context-window", &CONTEXT_WINDOW.to_string()]);
        Model::start_by(command)
    }

    /// One that refuses what is longer than `window`, answers by the rules of a file first, and
    /// takes some time for each answer.
    pub fn start_narrow(
        stub: &Path,
        window: u64,
        script: &Path,
        takes: Duration,
    ) -> anyhow::Result<Model> {
        let mut command = Command::new(stub);
        command.args(["--context-window", &window.to_string()]).arg("--script").arg(script);
        let latency = json!({ "kind": "latency", "ms": takes.as_millis() as u64 });
        command.args(["--fault", &latency.to_string()]);
        Model::start_by(command)
    }

    fn start_by(mut command: Command) -> anyhow::Result<Model> {
        command.args(["--port", "0", "--print-port"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::start(&mut command)?;
        let stdout = process.stdout().context("the stub has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("the stub said nothing")?;
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            bail!("the stub said {line:?} and not where it listens");
        };
        Ok(Model { process, url: url.to_owned() })
    }

    /// The part of a gateway's configuration that makes this its model.
    pub fn providers(&self) -> Value {
        json!({ "providers": { "stub": {
            "baseUrl": format!("{}/v1", self.url),
            "api": "openai-completions",
            "apiKey": "sk-bench-0123456789",
            "models": [{
                "id": "stub-1",
                "contextWindow": CONTEXT_WINDOW,
                "maxTokens": MAX_TOKENS,
            }],
        } } })
    }

    /// Requests that the stub has refused, as a real provider would.
    pub fn refused(&self) -> anyhow::Result<u64> {
        self.journal()?["invalid"].as_u64().context("the journal does not say what was refused")
    }

    /// What it was asked so far.
    pub fn asked(&self) -> anyhow::Result<Asked> {
        let journal = self.journal()?;
        let entries = journal["requests"].as_array().context("the journal has no requests")?;
        let mut asked = Asked::default();
        for entry in entries {
            let number = |name: &str| {
                entry[name].as_u64().with_context(|| format!("an entry without `{name}`: {entry}"))
            };
            asked.requests += 1;
            asked.bytes += number("bodyBytes")?;
            let took = number("endMs")?.saturating_sub(number("atMs")?);
            asked.answering += Duration::from_millis(took);
        }
        Ok(asked)
    }

    fn journal(&self) -> anyhow::Result<Value> {
        let mut answer = ureq::get(format!("{}/journal", self.url)).call()?;
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string()?;
        serde_json::from_str(&text).context("the journal is no JSON")
    }

    pub fn stop(self) -> anyhow::Result<()> {
        self.process.terminate(STOP_WITHIN).map(drop)
    }
}
