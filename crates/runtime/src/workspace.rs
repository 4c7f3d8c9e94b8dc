//! An agent's folder: made with short files to begin with, and never written over.
//!
//! A folder that is not there, or that is empty, is filled before its first use. One with anything
//! in it belongs to somebody: it gets nothing, unless a person asks for what is missing.

pub mod named;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile, TempDir};

/// A file that a new workspace begins with.
#[derive(Clone, Copy, Debug)]
pub struct DefaultFile {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! files {
    ($($name:literal),+) => {
        [$(DefaultFile { name: $name, text: include_str!(concat!("workspace/", $name)) }),+]
    };
}

/// The files of a new workspace. All but the last are sent with every call of the agent's own
/// sessions, in this order.
pub const FILES: [DefaultFile; 7] = files!(
    "AGENTS.md",
    "SOUL.md",
    "USER.md",
    "IDENTITY.md",
    "TOOLS.md",
    "MEMORY.md",
    "HEARTBEAT.md"
);

/// What a new folder and its files may be used for; the umask takes from it.
const FOLDER_MODE: u32 = 0o777;
const FILE_MODE: u32 = 0o666;

/// Sessions that begin at the same time must find the same files.
static TURN: Mutex<()> = Mutex::new(());

/// Makes the folder with its files if it is not there, or is empty. Returns the names of the files
/// that were written.
pub fn prepare(folder: &Path) -> io::Result<Vec<&'static str>> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => add_missing(folder),
        Ok(false) => Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::NotFound => make(folder),
        Err(error) => Err(error),
    }
}

/// Writes those of the files that are not there. None that is there is touched.
pub fn fill(folder: &Path) -> io::Result<Vec<&'static str>> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    fs::create_dir_all(folder)?;
    add_missing(folder)
}

fn add_missing(folder: &Path) -> io::Result<Vec<&'static str>> {
    let mut written = Vec::new();
    for file in FILES {
        let mode = fs::Permissions::from_mode(FILE_MODE);
        let mut whole = Builder::new().prefix(".new-").permissions(mode).tempfile_in(folder)?;
        whole.write_all(file.text.as_bytes())?;
        whole.as_file().sync_all()?;
        match NamedTempFile::persist_noclobber(whole, folder.join(file.name)) {
            Ok(_) => written.push(file.name),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
    }
    Ok(written)
}

/// Makes the folder beside its place and moves it there when it is whole: a crash leaves no folder
/// with half of the files, which would count as somebody's.
fn make(folder: &Path) -> io::Result<Vec<&'static str>> {
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let mode = fs::Permissions::from_mode(FOLDER_MODE);
    let new = Builder::new().prefix(".new-workspace-").permissions(mode).tempdir_in(parent)?;
    let written = add_missing(new.path())?;
    match fs::rename(new.path(), folder) {
        Ok(()) => {
            // It is not there any more to be taken away.
            let _moved = TempDir::keep(new);
            Ok(written)
        }
        // Somebody was faster, and what he has put there is his.
        Err(error) if folder.is_dir() => {
            tracing::debug!(path = %folder.display(), %error, "the workspace is there already");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use types::usage::estimate_tokens;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_there_or_is_empty_gets_all_files() {
        let home = tempfile::tempdir().unwrap();
        for folder in [home.path().join("new/workspace"), home.path().join("empty")] {
            if folder.ends_with("empty") {
                fs::create_dir(&folder).unwrap();
            }
            assert_eq!(prepare(&folder).unwrap().len(), FILES.len());
            let mut wanted = FILES.map(|file| file.name);
            wanted.sort_unstable();
            assert_eq!(names(&folder), wanted, "nothing else is left there");
            for file in FILES {
                assert_eq!(fs::read_to_string(folder.join(file.name)).unwrap(), file.text);
            }
            assert!(prepare(&folder).unwrap().is_empty(), "once");
        }
        assert_eq!(names(&home.path().join("new")), ["workspace"]);
    }

    #[test]
    fn what_is_somebodys_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let repository = home.path().join("repository");
        fs::create_dir_all(repository.join(".git")).unwrap();
        assert!(prepare(&repository).unwrap().is_empty());
        assert_eq!(names(&repository), [".git"]);
        // Only by request, and then only what is missing.
        fs::write(repository.join("AGENTS.md"), "mine").unwrap();
        let written = fill(&repository).unwrap();
        assert_eq!(written.len(), FILES.len() - 1);
        assert!(!written.contains(&"AGENTS.md"));
        assert_eq!(fs::read_to_string(repository.join("AGENTS.md")).unwrap(), "mine");

        let file = home.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(prepare(&file).is_err() && prepare(&file.join("below")).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
    }

    #[test]
    fn many_at_once_find_the_same() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("workspace");
        let written: Vec<usize> = std::thread::scope(|scope| {
            let one = || {
                scope.spawn(|| {
                    let written = prepare(&folder).unwrap().len();
                    assert_eq!(names(&folder).len(), FILES.len());
                    written
                })
            };
            let all: Vec<_> = (0..8).map(|_| one()).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(written.iter().sum::<usize>(), FILES.len());
        assert_eq!(names(home.path()), ["workspace"]);
    }

    /// They are sent with every call: what they cost is bounded here.
    #[test]
    fn the_files_are_short() {
        let all: u64 = FILES.iter().map(|file| estimate_tokens(file.text)).sum();
        assert!(all <= 700, "{all} tokens in all files");
        let rules = estimate_tokens(FILES[0].text);
        assert!(rules <= 270, "{rules} tokens in {}", FILES[0].name);
        assert!(FILES.iter().all(|file| file.text.ends_with('\n') && file.text.is_ascii()));
    }
}
