//! `exec`: a shell command in the workspace, bounded in time and output. One that takes long goes
//! on in the background, where `process` finds it.

mod env;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use types::{CommandLine, EffectClass, ToolSpec};

use crate::arguments::{Arguments, Refused, excerpt};
use crate::command_line;
use crate::launch::{Launch, Wants};
use crate::process::{About, End, Entry, Table, Why, above, state};
use crate::sandbox::Sandbox;
use crate::workspace::Workspace;
use crate::{Config, Tool, ToolContext, ToolOutput};

/// Linux takes no argument longer than 128 KiB.
const COMMAND_BYTES_MAX: usize = 120 * 1024;
const TITLE_BYTES_MAX: usize = 512;

/// A command that is to go on in the background is watched so long: most that fail do it at once.
const FIRST_LOOK: Duration = Duration::from_millis(300);

const HERE: &str = "commands run on the gateway's machine, as the gateway's user";
const REFUSED: &[Refused] = &[
    ("run_in_background", "use `background`"),
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
    wait: Duration,
    grace: Duration,
    table: Arc<Table>,
    sandbox: Sandbox,
}

/// A call, checked.
#[derive(Debug)]
struct Request {
    command: String,
    folder: PathBuf,
    env: Vec<(String, String)>,
    timeout: Duration,
    /// How long the call waits for the end before the command goes on without it; for ever if none.
    wait: Option<Duration>,
    /// Was it asked to go on in the background?
    background: bool,
    terminal: bool,
}

impl Exec {
    pub(crate) fn new(config: &Config, table: Arc<Table>) -> Exec {
        let timeout = config.exec_timeout.as_secs();
        let spec = ToolSpec {
            name: "exec".to_owned(),
            description: "Run a shell command in the workspace; answers with its output and exit \
                code. One that runs longer than yieldMs goes on in the background: use its \
                sessionId with process. All it starts ends with it, and with this run."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "command": { "type": "string" },
                    "workdir": { "type": "string" },
                    "env": { "type": "object" },
                    "yieldMs": {
                        "type": "number",
                        "description": format!("Default {}", config.exec_yield.as_millis()),
                    },
                    "background": {
                        "type": "boolean",
                        "description": "Do not wait; its input stays open",
                    },
                    "timeoutSeconds": {
                        "type": "number",
                        "description": format!("Default {timeout}"),
                    },
                    "pty": { "type": "boolean" },
                },
                "required": ["command"],
            }),
        };
        let bash = "/bin/bash";
        Exec {
            spec,
            shell: if Path::new(bash).exists() { bash } else { "/bin/sh" },
            timeout: config.exec_timeout,
            timeout_max: config.exec_timeout_max,
            wait: config.exec_yield,
            grace: config.exec_grace,
            table,
            sandbox: Sandbox::new(config.sandbox.clone()),
        }
    }

    fn request(&self, context: &ToolContext, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, &["title"], REFUSED, arguments)?;
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
        let background = arguments.flag("background")?.unwrap_or(false);
        Ok(Request {
            command: command.to_owned(),
            folder,
            env: env::env(arguments.value("env"))?,
            timeout: self.timeout(arguments.number("timeoutSeconds")?)?,
            wait: self.wait(context, background, arguments.number("yieldMs")?)?,
            background,
            terminal: arguments.flag("pty")?.unwrap_or(false),
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

    fn wait(
        &self,
        context: &ToolContext,
        background: bool,
        ms: Option<f64>,
    ) -> Result<Option<Duration>, String> {
        let max = self.timeout_max.as_millis() as f64;
        let wait = match ms {
            None if background => FIRST_LOOK,
            None => self.wait,
            Some(ms) if (0.0..=max).contains(&ms) => Duration::from_millis(ms as u64),
            Some(ms) => return Err(format!("`yieldMs` must be from 0 to {max}; got {ms}")),
        };
        match context.background {
            true => Ok(Some(wait)),
            // Nobody could look at it there.
            false if background => {
                Err("`background` needs the tool `process`, which this session \
                                        does not have: `windlass tools explain` says why"
                    .to_owned())
            }
            false => Ok(None),
        }
    }

    /// The one place where a call that is understood becomes a command about to start. Whoever has
    /// to agree to it is asked here, and says why not.
    async fn prepare(&self, context: &ToolContext, request: &Request) -> Result<Launch, String> {
        if request.background
            && let Some(why) = self.table.refusal(&context.session)
        {
            return Err(why);
        }
        let mut env = env::all(context, &request.env);
        let wants = match (request.terminal, request.background) {
            (true, _) => Wants::Terminal,
            (false, true) => Wants::Pipe,
            (false, false) => Wants::Nothing,
        };
        if request.terminal && !request.env.iter().any(|(name, _)| name == "TERM") {
            env.push(("TERM".into(), "xterm-256color".into()));
        }
        let launch = Launch {
            program: self.shell.into(),
            arguments: vec![OsString::from("-c"), OsString::from(&request.command)],
            folder: request.folder.clone(),
            env,
            wants,
            bounds: None,
        };
        self.sandbox.wrap(&context.sandbox, &context.session, launch).await
    }

    async fn run(&self, context: &ToolContext, arguments: &str) -> Result<ToolOutput, String> {
        let request = self.request(context, arguments)?;
        let launch = self.prepare(context, &request).await?;
        if context.cancel.is_cancelled() {
            return Err("the run was stopped: the command was not started".to_owned());
        }
        let about = About {
            id: Table::id_of(&context.idempotency_key),
            session: context.session.clone(),
            run: context.run,
            command: request.command.clone(),
            terminal: request.terminal,
            timeout: request.timeout,
            grace: self.grace,
            bounds: launch.bounds,
        };
        let entry = self.table.start(launch, about);
        let entry = entry.map_err(|error| format!("cannot run the command: {error}"))?;
        let mut held = Held { table: &self.table, entry: &entry, done: false };
        let output = self.wait_for(context, &request, &entry).await;
        held.done = true;
        Ok(output)
    }

    /// Waits for the end, or until the command goes on without the call.
    async fn wait_for(
        &self,
        context: &ToolContext,
        request: &Request,
        entry: &Arc<Entry>,
    ) -> ToolOutput {
        let patience = async {
            match request.wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            // A command that has ended is not said to go on.
            biased;
            end = entry.ended() => end,
            () = context.cancel.cancelled() => {
                entry.stop(Why::RunStopped);
                entry.ended().await
            }
            () = patience => {
                // As many as may are there already: this one is waited for.
                if !request.background && self.table.refusal(&context.session).is_some() {
                    tokio::select! {
                        end = entry.ended() => end,
                        () = context.cancel.cancelled() => {
                            entry.stop(Why::RunStopped);
                            entry.ended().await
                        }
                    }
                } else {
                    let so_far = entry.so_far();
                    self.table.release(entry);
                    return goes_on(entry, so_far);
                }
            }
        };
        self.over(entry, &end)
    }

    /// What a command wrote, and below it how it ended.
    fn over(&self, entry: &Arc<Entry>, end: &End) -> ToolOutput {
        let text = above(entry.so_far(), &end.words());
        self.table.remove(entry);
        ToolOutput { text, is_error: !end.is_success() }
    }
}

fn goes_on(entry: &Entry, so_far: String) -> ToolOutput {
    let advice = "[it goes on in the background until this run ends: see `process`]";
    ToolOutput::ok(above(so_far, &format!("{}\n{advice}", state(entry))))
}

/// A command that a call waits for. A call that is dropped takes it along.
struct Held<'a> {
    table: &'a Table,
    entry: &'a Arc<Entry>,
    done: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.entry.stop(Why::Dropped);
            self.table.remove(self.entry);
        }
    }
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

    fn command_line(&self, arguments: &str) -> Option<CommandLine> {
        // What cannot be read is refused when it is called, and starts nothing.
        let arguments = Arguments::parse(&self.spec, &[], REFUSED, arguments).ok()?;
        let command = arguments.text("command").ok()??;
        Some(command_line::read(command, !arguments.has("env")))
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        match self.run(context, arguments).await {
            Ok(output) => output,
            Err(error) => ToolOutput::error(error),
        }
    }
}
