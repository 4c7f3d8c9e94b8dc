//! What one command may reach: folders to read, folders to write, folders that are not there.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Backend, Mode, Settings};

/// Folders of the system: programs, and what they need to run.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/run/current-system",
    "/sys/devices/system",
];

/// What of the system is not for everybody, also where the gateway runs as root.
const SECRET: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/kubernetes",
    "/etc/docker",
];

/// The walls around one command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fence {
    pub(super) mode: Mode,
    pub(super) backend: Backend,
    pub(super) workspace: PathBuf,
    /// Private; it stands in the place of /tmp.
    pub(super) temporary: PathBuf,
    pub(super) read: Vec<PathBuf>,
    pub(super) hidden: Vec<PathBuf>,
}

impl Fence {
    /// Makes the folder for temporary files, and sees that the folders do not contradict.
    pub(super) fn new(
        settings: &Settings,
        mode: Mode,
        backend: Backend,
        workspace: PathBuf,
        temporary: PathBuf,
    ) -> Result<Fence, String> {
        let shown = |path: &Path, error| format!("{} cannot be used: {error}", path.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&temporary)
            .map_err(|error| shown(&temporary, error))?;
        let real = |path: &Path| path.canonicalize().map_err(|error| shown(path, error));
        let (workspace, temporary) = (real(&workspace)?, real(&temporary)?);
        // What is not there cannot be read, either way it is written.
        let there = |paths: &mut dyn Iterator<Item = &Path>| -> Vec<PathBuf> {
            paths.filter_map(|path| path.canonicalize().ok()).collect()
        };
        let mut hidden = there(&mut SECRET.iter().map(Path::new));
        hidden.extend(there(&mut settings.hidden.iter().map(PathBuf::as_path)));
        if let Some(inside) = hidden.iter().find(|path| path.starts_with(&workspace)) {
            return Err(format!(
                "the workspace {} holds {}, which no command may see: move one of them",
                workspace.display(),
                inside.display()
            ));
        }
        let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        read.extend(settings.read.iter().cloned());
        // A name server is often told of by a link that leads elsewhere.
        read.extend(Path::new("/etc/resolv.conf").canonicalize().ok());
        read.retain(|path| path.exists());
        Ok(Fence { mode, backend, workspace, temporary, read, hidden })
    }

    /// What a command has to be told of where it is.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        // In its own walls /tmp is the private folder; elsewhere it has its own name.
        let temporary = match self.backend {
            Backend::Landlock => self.temporary.display().to_string(),
            Backend::Auto | Backend::Bubblewrap => "/tmp".to_owned(),
        };
        vec![("TMPDIR", temporary.clone()), ("HOME", temporary)]
    }

    /// The folders of a search path in which a program can be found: a shell that finds one behind
    /// the wall does not look further.
    pub(super) fn search_path(&self, path: &OsStr) -> OsString {
        let seen = |folder: &PathBuf| {
            let within = |open: &PathBuf| folder.starts_with(open);
            self.read.iter().any(within) || within(&self.workspace)
        };
        let seen = std::env::split_paths(path).filter(seen);
        std::env::join_paths(seen).unwrap_or_default()
    }

    /// The paths below `path`, itself if nothing of it is hidden, that may be read.
    pub(super) fn open_parts(&self, path: &Path) -> Vec<PathBuf> {
        let Ok(real) = path.canonicalize() else { return Vec::new() };
        if self.hidden.iter().any(|hidden| real.starts_with(hidden)) {
            return Vec::new();
        }
        if !self.hidden.iter().any(|hidden| hidden.starts_with(&real)) {
            return vec![real];
        }
        let parts = fs::read_dir(&real).into_iter().flatten().flatten();
        // A link leads where another rule decides.
        let own = parts.filter(|part| part.file_type().is_ok_and(|kind| !kind.is_symlink()));
        own.flat_map(|part| self.open_parts(&part.path())).collect()
    }
}
