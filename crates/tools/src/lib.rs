//! What an agent may do: the tools a model can call, and what became of a call after a crash.
//!
//! ```text
//! arguments (JSON text) ─▶ checked once, refused by name ─▶ the deed ─▶ text, bounded
//! ```
//!
//! A call never fails towards its caller: the model hears of an error as a result, and goes on.
//! Every tool has an effect class that says whether it may run again when a crash cut it; a
//! `probed` tool is asked with [`Tool::probe`] whether it was done.
//!
//! # Invariants
//!
//! - A result that leaves a [`Toolbox`] is no longer than [`Config::result_bytes_max`], and holds
//!   no NUL.
//! - The file tools touch nothing outside the workspace, whatever the path says.
//! - `web_fetch` connects to no address of a private network, unless the operator says so.
//! - A file is replaced as a whole or not at all.
//! - When a command has ended, all that it has started is dead, also what has left its process
//!   group, or the result says what is not. A call that was dropped has killed its command.
//! - A command belongs to the session that has started it. What goes on in the background ends with
//!   its run, and with the gateway.
//!
//! # Not here
//!
//! The session tools are read in [`sessions`] and decided in `machine`; they are no [`Tool`].
//! The file tools' bounds on paths do not bind `exec`: that is the [`sandbox`]'s to do.

mod apply_patch;
mod arguments;
mod bound;
mod command_line;
pub mod conformance;
mod edit;
mod exec;
mod group;
mod launch;
pub mod leftover;
pub mod marked;
mod matching;
mod memory;
mod output;
mod plain;
mod process;
mod processes;
mod read;
mod replace;
pub mod sandbox;
pub mod scripted;
mod search;
pub mod sections;
pub mod source;
pub mod deliver;
pub mod sessions;
pub mod web_fetch;
pub mod workspace;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use types::{CommandLine, EffectClass, RunId, SessionKey, ToolSpec};

pub use crate::process::Table as Processes;

pub use source::Source;

/// One thing that an agent can do.
#[async_trait]
pub trait Tool: Send + Sync + fmt::Debug {
    fn spec(&self) -> &ToolSpec;

    /// May a call run again when a crash cut it?
    fn effect(&self) -> EffectClass;

    /// As [`Tool::effect`], of one call, where it depends on what is asked for.
    fn effect_of(&self, _arguments: &str) -> EffectClass {
        self.effect()
    }

    /// Without the `group:` by which entries of a policy name them.
    fn groups(&self) -> Vec<String> {
        sections::of(&self.spec().name).iter().map(|&group| group.to_owned()).collect()
    }

    /// The shell command that a call would run, if it would run one: it may have to be allowed.
    fn command_line(&self, _arguments: &str) -> Option<CommandLine> {
        None
    }

    /// Does it. Never fails: an error is an output with `is_error`.
    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput;

    /// Asked after a crash for a `probed` tool: was it done?
    async fn probe(&self, _context: &ToolContext, _arguments: &str) -> Probe {
        Probe::Unsure
    }
}

/// For whom a tool is called, and where.
#[derive(Clone)]
pub struct ToolContext {
    /// The tool's root and working folder.
    pub workspace: PathBuf,
    pub session: SessionKey,
    pub run: RunId,
    /// May a command go on in the background? Not where nobody could look at it.
    pub background: bool,
    /// The walls around its commands.
    pub sandbox: sandbox::Walls,
    /// The same again when the call is repeated after a crash.
    pub idempotency_key: String,
    /// Fires when the run is stopped.
    pub cancel: CancellationToken,
    /// What the operator adds to the environment of this agent's processes.
    pub env: Vec<(String, String)>,
}

impl fmt::Debug for ToolContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be secrets.
        let names: Vec<&String> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("ToolContext")
            .field("workspace", &self.workspace)
            .field("session", &self.session)
            .field("run", &self.run)
            .field("background", &self.background)
            .field("sandbox", &self.sandbox)
            .field("idempotency_key", &self.idempotency_key)
            .field("cancelled", &self.cancel.is_cancelled())
            .field("env", &names)
            .finish()
    }
}

/// What the model hears of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOutput {
    pub text: String,
    pub is_error: bool,
}

impl ToolOutput {
    pub fn ok(text: impl Into<String>) -> ToolOutput {
        ToolOutput { text: text.into(), is_error: false }
    }

    pub fn error(text: impl Into<String>) -> ToolOutput {
        ToolOutput { text: text.into(), is_error: true }
    }
}

impl From<Result<String, String>> for ToolOutput {
    fn from(result: Result<String, String>) -> ToolOutput {
        match result {
            Ok(text) => ToolOutput::ok(text),
            Err(text) => ToolOutput::error(text),
        }
    }
}

/// Whether a call that a crash cut was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It was, and this is what it would have answered.
    Done(ToolOutput),
    /// It was not, and may be run.
    NotDone,
    /// The world does not show it. The model is told that the outcome is unknown.
    Unsure,
}

/// The bounds of the built-in tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Longest result of any tool that is held. The machine lets no more than its ends into a
    /// transcript; this much can be read on.
    pub result_bytes_max: usize,
    /// How long a command may run that names no `timeoutSeconds`.
    pub exec_timeout: Duration,
    /// Longest `timeoutSeconds` that a command may ask for.
    pub exec_timeout_max: Duration,
    /// How long a stopped command has between SIGTERM and SIGKILL. Five seconds after a stop
    /// nothing of it may live: this leaves time for the SIGKILL, and to see that it has worked.
    pub exec_grace: Duration,
    /// How long a call waits for its command before it goes on in the background.
    pub exec_yield: Duration,
    /// How long a command that went on in the background can be looked at after its end.
    pub exec_keep: Duration,
    /// The folder for what commands in the background write; none keeps the last of it in memory.
    pub processes: Option<PathBuf>,
    pub sandbox: sandbox::Settings,
    pub read_lines_max: usize,
    pub read_bytes_max: usize,
    /// Longest part of one line that is shown: a minified file must not fill the result.
    pub read_line_bytes_max: usize,
    /// How long one search may take: a workspace can be a whole disk.
    pub search_timeout: Duration,
    /// Largest file that `write` and `edit` make or change: they hold it in memory.
    pub file_bytes_max: u64,
    /// Is there `apply_patch`?
    pub apply_patch: bool,
    pub web_fetch: web_fetch::WebFetch,
    /// The folder for the indexes of notes; none keeps them in memory, for one search each.
    pub memory_index: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            result_bytes_max: 4 * 1024 * 1024,
            exec_timeout: Duration::from_secs(1_800),
            exec_timeout_max: Duration::from_secs(86_400),
            exec_grace: Duration::from_secs(3),
            exec_yield: Duration::from_secs(10),
            exec_keep: Duration::from_secs(1_800),
            processes: None,
            sandbox: sandbox::Settings::default(),
            read_lines_max: 2_000,
            read_bytes_max: 50 * 1024,
            read_line_bytes_max: 4_000,
            search_timeout: Duration::from_secs(30),
            file_bytes_max: 16 * 1024 * 1024,
            apply_patch: true,
            web_fetch: web_fetch::WebFetch::default(),
            memory_index: None,
        }
    }
}

/// Room in a result for the lines about a command's end.
const ENDING_BYTES_MAX: usize = 1_024;

impl Config {
    fn processes(&self) -> Processes {
        let ends = self.result_bytes_max.saturating_sub(ENDING_BYTES_MAX);
        Processes::new(self.processes.clone(), self.exec_grace, ends)
    }
}

/// The tools of an agent, in the order in which the model sees them.
#[derive(Clone, Debug)]
pub struct Toolbox {
    tools: Vec<Arc<dyn Tool>>,
    processes: Arc<Processes>,
    result_bytes_max: usize,
}

impl Toolbox {
    /// No tools yet; what they answer will be cut to `result_bytes_max`.
    pub fn empty(result_bytes_max: usize) -> Toolbox {
        let config = Config { result_bytes_max, ..Config::default() };
        Toolbox { tools: Vec::new(), processes: Arc::new(config.processes()), result_bytes_max }
    }

    /// The tools of every agent, but for those that are switched off.
    pub fn builtin(config: &Config) -> Toolbox {
        Toolbox::builtin_with(config, Arc::new(config.processes()))
    }

    /// Those of another configuration. What goes on in the background stays where it is found.
    #[must_use]
    pub fn renewed(&self, config: &Config) -> Toolbox {
        Toolbox::builtin_with(config, Arc::clone(&self.processes))
    }

    fn builtin_with(config: &Config, processes: Arc<Processes>) -> Toolbox {
        processes.keep_for(config.exec_keep);
        let mut toolbox = Toolbox::empty(config.result_bytes_max)
            .with(Arc::new(read::Read::new(config)))
            .with(Arc::new(search::Search::new(config)))
            .with(Arc::new(write::Write::new(config)))
            .with(Arc::new(edit::Edit::new(config)));
        if config.apply_patch {
            toolbox = toolbox.with(Arc::new(apply_patch::ApplyPatch::new(config)));
        }
        toolbox = toolbox
            .with(Arc::new(exec::Exec::new(config, Arc::clone(&processes))))
            .with(Arc::new(process::Process::new(Arc::clone(&processes))));
        toolbox.processes = processes;
        if config.web_fetch.enabled {
            toolbox = toolbox.with(Arc::new(web_fetch::Fetch::new(config)));
        }
        toolbox.with(Arc::new(memory::Search::new(config))).with(Arc::new(memory::Get::new(config)))
    }

    /// Adds a tool at the end, or puts it in the place of the one with the same name.
    #[must_use]
    pub fn with(mut self, tool: Arc<dyn Tool>) -> Toolbox {
        let tool = Arc::new(Bounded { inner: tool, bytes_max: self.result_bytes_max });
        match self.tools.iter_mut().find(|other| other.spec().name == tool.spec().name) {
            Some(other) => *other = tool,
            None => self.tools.push(tool),
        }
        self
    }

    /// The commands that its `exec` has started.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    pub fn shared_processes(&self) -> Arc<Processes> {
        Arc::clone(&self.processes)
    }

    pub fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.spec().name == name).cloned()
    }

    pub fn tools(&self) -> impl Iterator<Item = &dyn Tool> {
        self.tools.iter().map(|tool| &**tool)
    }

    /// The specs in a stable order: they are part of the prefix that providers cache.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.tools.iter().map(|tool| tool.spec().clone()).collect()
    }
}

/// Holds a tool's answers to the bound, so that no tool has to be trusted with it.
#[derive(Debug)]
struct Bounded {
    inner: Arc<dyn Tool>,
    bytes_max: usize,
}

impl Bounded {
    fn cut(&self, output: ToolOutput) -> ToolOutput {
        // A NUL in a text is more than some databases and providers take.
        let text = output.text.replace('\0', "\u{fffd}");
        ToolOutput { text: bound::cut(text, self.bytes_max), ..output }
    }
}

#[async_trait]
impl Tool for Bounded {
    fn spec(&self) -> &ToolSpec {
        self.inner.spec()
    }

    fn effect(&self) -> EffectClass {
        self.inner.effect()
    }

    fn effect_of(&self, arguments: &str) -> EffectClass {
        self.inner.effect_of(arguments)
    }

    fn groups(&self) -> Vec<String> {
        self.inner.groups()
    }

    fn command_line(&self, arguments: &str) -> Option<CommandLine> {
        self.inner.command_line(arguments)
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        self.cut(self.inner.call(context, arguments).await)
    }

    async fn probe(&self, context: &ToolContext, arguments: &str) -> Probe {
        match self.inner.probe(context, arguments).await {
            Probe::Done(output) => Probe::Done(self.cut(output)),
            other => other,
        }
    }
}

/// Runs file work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(format!("the tool broke off: {error}")),
    }
}

#[cfg(test)]
mod tests;
