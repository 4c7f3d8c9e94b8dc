//! Walls around commands: what they may read and write, and whom they may talk to.
//!
//! ```text
//!  exec ─▶ Sandbox::wrap ─▶ launcher (this binary again) ─┬─▶ bubblewrap ─▶ shell
//!          asks for a        `sandbox-exec FENCE --`      └─▶ Landlock and seccomp, shell
//!          means that works
//! ```
//!
//! The walls are put up by a process of its own, between its start and the command's: nothing
//! has to be done between fork and exec, and no code of the gateway runs inside.
//!
//! # Invariants
//!
//! - A mode is had as it was asked for, or the command is refused. It is never less.
//! - A means is used only after a canary has shown, on this machine and with these folders, that
//!   what must fail fails.

mod bubblewrap;
mod child;
mod fence;
mod probe;
mod system_calls;
mod walls;

use std::ffi::OsString;
use std::path::PathBuf;

use tokio::sync::OnceCell;
use types::{Hash, SessionKey, word_enum};

pub use self::child::enter;
pub use self::fence::Fence;
use crate::launch::{Bounds, Launch};

word_enum! {
    /// How much a command may do. The later is the stricter.
    #[derive(Default)]
    pub enum Mode {
        /// What the gateway's user may.
        #[default]
        Off = "off",
        /// Writes in the workspace and in a private /tmp, reads system folders.
        Workspace = "workspace",
        /// And has no network, sees no other process, and is bounded in memory and number.
        Strict = "strict",
    }
}

word_enum! {
    /// What puts up the walls.
    pub enum Backend {
        /// The first of the others that works.
        Auto = "auto",
        Bubblewrap = "bubblewrap",
        Landlock = "landlock",
    }
}

/// Which walls are around the commands of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walls {
    pub mode: Mode,
    /// What may be written: the workspace of its agent, wherever in it a session works.
    pub workspace: PathBuf,
}

/// The configuration's key, for whoever is refused.
const KEY: &str = "tools.exec.sandbox";

/// What a sandbox is made of, beside its mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub backend: Option<Backend>,
    /// Where private folders for temporary files are made; without it there is no sandbox.
    pub folder: Option<PathBuf>,
    /// What no command may see: the state folder and the configuration.
    pub hidden: Vec<PathBuf>,
    /// Folders that may be read beside those of the system.
    pub read: Vec<PathBuf>,
    /// This binary, which knows `sandbox-exec`.
    pub launcher: Option<PathBuf>,
}

/// Puts walls around commands.
#[derive(Debug)]
pub struct Sandbox {
    settings: Settings,
    workspace: OnceCell<Result<Backend, String>>,
    strict: OnceCell<Result<Backend, String>>,
}

impl Sandbox {
    pub fn new(settings: Settings) -> Sandbox {
        Sandbox { settings, workspace: OnceCell::new(), strict: OnceCell::new() }
    }

    /// Finds out once what puts up the walls of `mode` here, or why nothing does.
    pub async fn backend(&self, mode: Mode) -> Result<Backend, String> {
        let cell = match mode {
            Mode::Off => return Err("there is none".to_owned()),
            Mode::Workspace => &self.workspace,
            Mode::Strict => &self.strict,
        };
        cell.get_or_init(|| probe::find(&self.settings, mode)).await.clone()
    }

    /// Puts walls around a command of `session`, or says why it cannot be run.
    pub(crate) async fn wrap(
        &self,
        walls: &Walls,
        session: &SessionKey,
        launch: Launch,
    ) -> Result<Launch, String> {
        let mode = walls.mode;
        if mode == Mode::Off {
            return Ok(launch);
        }
        let refused = |why: String| {
            format!("the command was not run: {KEY} is {mode}, and there is no such sandbox: {why}")
        };
        let backend = self.backend(mode).await.map_err(refused)?;
        let name = Hash::of(session.to_string()).to_string();
        let folder =
            self.settings.folder.as_deref().ok_or_else(|| refused(NO_FOLDER.to_owned()))?;
        let temporary = folder.join("tmp").join(&name[..16]);
        let fence = Fence::new(&self.settings, mode, backend, walls.workspace.clone(), temporary);
        let fence = fence.map_err(refused)?;
        if !launch.folder.starts_with(&fence.workspace) {
            return Err(format!(
                "the command was not run: {KEY} is {mode}, and its folder {} is outside the \
                 workspace {}",
                launch.folder.display(),
                fence.workspace.display()
            ));
        }
        self.launcher(&fence, launch).map_err(refused)
    }

    fn launcher(&self, fence: &Fence, launch: Launch) -> Result<Launch, String> {
        let launcher = self.settings.launcher.as_ref().ok_or("nothing is there to put it up")?;
        let text = serde_json::to_string(fence).map_err(|error| error.to_string())?;
        let mut arguments: Vec<OsString> =
            vec![SUBCOMMAND.into(), text.into(), "--".into(), launch.program];
        arguments.extend(launch.arguments);
        let mut env = launch.env;
        for (_, value) in env.iter_mut().filter(|(name, _)| name == "PATH") {
            *value = fence.search_path(value);
        }
        for (name, value) in fence.variables() {
            env.push((name.into(), value.into()));
        }
        let bounds = (fence.mode == Mode::Strict).then_some(Bounds::STRICT);
        Ok(Launch { program: launcher.into(), arguments, env, bounds, ..launch })
    }
}

const NO_FOLDER: &str = "there is no folder for its temporary files";

/// What this binary is called with, to put up walls.
pub const SUBCOMMAND: &str = "sandbox-exec";

#[cfg(test)]
mod tests;
