//! `exec`: a shell command in the workspace, bounded in time and output.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::process::Command;
use types::{EffectClass, ToolSpec};

use crate::arguments::{Arguments, Refused, excerpt, wrong};
use crate::bound::HeadTail;
use crate::group::{Remains, Running};
use crate::processes::{CALL_VARIABLE, RUN_VARIABLE};
use crate::workspace::Workspace;
use crate::{Config, Tool, ToolContext, ToolOutput};

/// What a command inherits, besides `LC_*`. The gateway's own environment holds API keys.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Linux takes no argument longer than 128 KiB.
const COMMAND_BYTES_MAX: usize = 120 * 1024;
const TITLE_BYTES_MAX: usize = 512;
const ENV_COUNT_MAX: usize = 256;

/// Room in the result for the lines about the command's end.
const ENDING_BYTES_MAX: usize = 1024;

const FOREGROUND: &str = "commands run in the foreground until they end; set `timeoutSeconds`";
const HERE: &str = "commands run on the gateway's machine, as the gateway's user";
const REFUSED: &[Refused] = &[
    ("yieldMs", FOREGROUND),
    ("background", FOREGROUND),
    ("run_in_background", FOREGROUND),
    ("pty", "commands have no terminal; use a program's non-interactive options"),
    ("elevated", HERE),
    ("host", HERE),
    ("node", HERE),
    ("ask", "approvals are the operator's to set"),
    ("security", "approvals are the operator's to set"),
    ("timeout", "use `timeoutSeconds`"),
    ("timeoutMs", "use `timeoutSeconds`"),
    ("cwd", "use `workdir`"),
    ("description", "use `title`"),
];

#[derive(Debug)]
pub(crate) struct Exec {
    spec: ToolSpec,
    shell: &'static str,
    timeout: Duration,
    timeout_max: Duration,
    grace: Duration,
    output_bytes_max: usize,
}

/// A call, checked.
#[derive(Debug)]
struct Request {
    command: String,
    folder: PathBuf,
    env: Vec<(String, String)>,
    timeout: Duration,
}

/// Why a command is over.
#[derive(Debug)]
enum Ending {
    Exited(ExitStatus),
    TimedOut,
    Cancelled,
}

impl Exec {
    pub(crate) fn new(config: &Config) -> Exec {
        let timeout = config.exec_timeout.as_secs();
        let spec = ToolSpec {
            name: "exec".to_owned(),
            description: "Run a shell command in the workspace and wait until it ends. The result \
                holds its output (of long output the first and the last part) and its exit code. \
                There is no terminal and no standard input. Processes that it leaves in the \
                background are stopped."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "command": { "type": "string", "description": "The command, as for `sh -c`." },
                    "title": {
                        "type": "string",
                        "description": "A few words for people: what the command is for.",
                    },
                    "workdir": {
                        "type": "string",
                        "description": "The folder to run in, relative to the workspace.",
                    },
                    "env": {
                        "type": "object",
                        "additionalProperties": { "type": "string" },
                        "description": "Environment variables to add.",
                    },
                    "timeoutSeconds": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "maximum": config.exec_timeout_max.as_secs(),
                        "description": format!("Stop it after so long; {timeout} if left out."),
                    },
                },
                "required": ["command"],
                "additionalProperties": false,
            }),
        };
        let bash = "/bin/bash";
        Exec {
            spec,
            shell: if Path::new(bash).exists() { bash } else { "/bin/sh" },
            timeout: config.exec_timeout,
            timeout_max: config.exec_timeout_max,
            grace: config.exec_grace,
            output_bytes_max: config.result_bytes_max.saturating_sub(ENDING_BYTES_MAX),
        }
    }

    fn request(&self, context: &ToolContext, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, &[], REFUSED, arguments)?;
        let command = arguments.message("command", COMMAND_BYTES_MAX)?;
        if command.contains('\0') {
            return Err("`command` holds a NUL character".to_owned());
        }
        arguments.word("title", TITLE_BYTES_MAX)?;
        let workdir = arguments.word("workdir", usize::MAX)?.unwrap_or(".");
        let workspace = Workspace::open(&context.workspace).map_err(|error| error.to_string())?;
        let folder = workspace.resolve(workdir).map_err(|error| error.to_string())?;
        if !folder.is_dir() {
            return Err(format!("`workdir` is not a folder: `{}`", excerpt(workdir)));
        }
        Ok(Request {
            command: command.to_owned(),
            folder,
            env: env(arguments.value("env"))?,
            timeout: self.timeout(arguments.number("timeoutSeconds")?)?,
        })
    }

    fn timeout(&self, seconds: Option<f64>) -> Result<Duration, String> {
        let Some(seconds) = seconds else { return Ok(self.timeout) };
        let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
        if timeout.is_zero() || timeout > self.timeout_max {
            let max = self.timeout_max.as_secs();
            return Err(format!(
                "`timeoutSeconds` must be more than 0 and at most {max}; got {seconds}"
            ));
        }
        Ok(timeout)
    }

    fn command(&self, context: &ToolContext, request: &Request) -> Command {
        let mut command = Command::new(self.shell);
        command
            .arg("-c")
            .arg(&request.command)
            .current_dir(&request.folder)
            .env_clear()
            .envs(inherited(std::env::vars_os()))
            .envs(context.env.iter().map(|(name, value)| (name, value)))
            .envs(request.env.iter().map(|(name, value)| (name, value)))
            // Last: no one else may say which run a process belongs to.
            .env(RUN_VARIABLE, context.run.to_string());
        command
    }

    async fn run(&self, context: &ToolContext, request: &Request) -> io::Result<ToolOutput> {
        let started = Instant::now();
        let command = self.command(context, request);
        let mut running = Running::start(command, HeadTail::new(self.output_bytes_max))?;
        let ending = tokio::select! {
            status = running.exited() => Ending::Exited(status?),
            () = tokio::time::sleep(request.timeout) => Ending::TimedOut,
            () = context.cancel.cancelled() => Ending::Cancelled,
        };
        let remains = match ending {
            Ending::Exited(_) => running.clear(self.grace).await,
            Ending::TimedOut | Ending::Cancelled => running.stop(self.grace).await,
        };
        let text = running.into_output().await.into_text();
        Ok(self.report(text, request, &ending, remains, started.elapsed()))
    }

    /// What the command wrote, and below it how it ended.
    fn report(
        &self,
        mut text: String,
        request: &Request,
        ending: &Ending,
        remains: Remains,
        took: Duration,
    ) -> ToolOutput {
        if text.is_empty() {
            text.push_str("[no output]");
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let took = format!("{:.1} s", took.as_secs_f64());
        let last = match ending {
            Ending::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("[exit code {code} after {took}]"),
                (None, Some(signal)) => format!("[killed by signal {signal} after {took}]"),
                (None, None) => format!("[ended as {status} after {took}]"),
            },
            Ending::TimedOut => format!(
                "[timed out: stopped after timeoutSeconds {}, with all it had started]",
                request.timeout.as_secs_f64()
            ),
            Ending::Cancelled => format!("[the run was stopped: the command ended after {took}]"),
        };
        text.push_str(&last);
        let exited = matches!(ending, Ending::Exited(_));
        match remains {
            Remains::Stopped if exited => {
                text.push_str("\n[it left processes in the background; they were stopped]");
            }
            Remains::None | Remains::Stopped => {}
            Remains::Alive(pids) => {
                let seconds = self.grace.as_secs_f64();
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                // Writing to a string cannot fail.
                let _ = write!(
                    text,
                    "\n[some of its processes live on, {seconds} s after SIGTERM and in spite of \
                     SIGKILL: {}]",
                    pids.join(", ")
                );
            }
        }
        let is_error = !matches!(ending, Ending::Exited(status) if status.success());
        ToolOutput { text, is_error }
    }
}

/// Reads the `env` argument.
fn env(value: Option<&Value>) -> Result<Vec<(String, String)>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let Some(fields) = value.as_object() else {
        return Err(wrong("env", "an object of strings", value));
    };
    if fields.len() > ENV_COUNT_MAX {
        let count = fields.len();
        return Err(format!("`env` has {count} variables; at most {ENV_COUNT_MAX} are allowed"));
    }
    fields.iter().map(|(name, value)| variable(name, value)).collect()
}

fn variable(name: &str, value: &Value) -> Result<(String, String), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("`env` has no valid variable name in `{}`", excerpt(name)));
    }
    if [RUN_VARIABLE, CALL_VARIABLE].contains(&name) {
        return Err(format!("`env` must not set {name}: the gateway does"));
    }
    // The value may be a secret: an error shows its name alone.
    match value.as_str() {
        Some(value) if !value.contains('\0') => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err(format!("`env.{}` holds a NUL character", excerpt(name))),
        None => Err(format!("`env.{}` must be a string", excerpt(name))),
    }
}

/// Returns what of the gateway's environment a command may see.
fn inherited(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    let safe = |name: &OsStr| {
        name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_"))
    };
    all.filter(move |(name, _)| safe(name))
}

#[async_trait]
impl Tool for Exec {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// Always: a word that a command is harmless counts for nothing.
    fn effect(&self) -> EffectClass {
        EffectClass::Opaque
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        let request = match self.request(context, arguments) {
            Ok(request) => request,
            Err(error) => return ToolOutput::error(error),
        };
        if context.cancel.is_cancelled() {
            return ToolOutput::error("the run was stopped: the command was not started");
        }
        match self.run(context, &request).await {
            Ok(output) => output,
            Err(error) => ToolOutput::error(format!("cannot run the command: {error}")),
        }
    }
}

#[cfg(test)]
mod tests;
