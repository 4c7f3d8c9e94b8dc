//! The files of a workspace that have a meaning, seen and written by name: nothing else of the
//! folder, and nothing outside of it.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tempfile::Builder;
use types::Hash;

use super::{FILES, TURN};

/// Longest text that is shown or written, in bytes. Far more than is ever sent of a file.
pub const BYTES_MAX: u64 = 1_000_000;

/// A file, or the place where it would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: &'static str,
    pub path: PathBuf,
    /// None if it is not there.
    pub text: Option<String>,
    /// When it was last written, in milliseconds of the Unix epoch.
    pub changed: Option<i64>,
}

/// Why a file is not shown, or was not written.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("no file `{0}` has a meaning in a workspace: expected one of {names}", names = names())]
    NoSuchName(String),
    #[error("{} leads out of the workspace: it is neither shown nor written", .0.display())]
    Outside(PathBuf),
    #[error("{} has {bytes} bytes: no more than {BYTES_MAX} are shown or written", path.display())]
    TooLong { path: PathBuf, bytes: u64 },
    #[error("{} is no text in UTF-8", .0.display())]
    NoText(PathBuf),
    #[error("{} was changed: its hash is {now}, expected {expected}", path.display())]
    Changed { path: PathBuf, now: String, expected: Hash },
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn names() -> String {
    FILES.map(|file| file.name).join(", ")
}

/// Shows a file.
pub fn read(folder: &Path, name: &str) -> Result<Found, Trouble> {
    let (name, path) = place(folder, name)?;
    let failed = |source| Trouble::Io { path: path.clone(), source };
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Found { name, path, text: None, changed: None });
        }
        Err(error) => return Err(failed(error)),
    };
    let known = file.metadata().map_err(failed)?;
    if !known.is_file() {
        let source = io::Error::new(ErrorKind::InvalidInput, "it is not a file");
        return Err(failed(source));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        let bytes = known.len();
        return Err(Trouble::TooLong { path, bytes });
    }
    let Ok(text) = String::from_utf8(bytes) else { return Err(Trouble::NoText(path)) };
    let changed = known.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let changed = changed.and_then(|since| i64::try_from(since.as_millis()).ok());
    Ok(Found { name, path, text: Some(text), changed })
}

/// Writes a file as a whole, if it is still the one of `expected`. A folder that is not there is
/// made first, with all files of a new workspace if `fill`.
pub fn write(
    folder: &Path,
    name: &str,
    text: &str,
    expected: Option<Hash>,
    fill: bool,
) -> Result<Found, Trouble> {
    let (name, path) = place(folder, name)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(Trouble::TooLong { path, bytes: text.len() as u64 });
    }
    let at_folder = |source| Trouble::Io { path: folder.to_owned(), source };
    if fill {
        super::prepare(folder).map_err(at_folder)?;
    } else {
        fs::create_dir_all(folder).map_err(at_folder)?;
    }
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(expected) = expected {
        let now = read(folder, name)?.text.map(Hash::of);
        if now != Some(expected) {
            let now = now.map_or_else(|| "none, it is not there".to_owned(), |n| n.to_string());
            return Err(Trouble::Changed { path, now, expected });
        }
    }
    replace(&path, text).map_err(|source| Trouble::Io { path, source })?;
    read(folder, name)
}

/// Where a file of the workspace is, links followed. Only the names that mean something are
/// taken, and only what lies in the folder.
fn place(folder: &Path, name: &str) -> Result<(&'static str, PathBuf), Trouble> {
    let known = FILES.iter().find(|file| file.name == name);
    let name = known.ok_or_else(|| Trouble::NoSuchName(name.to_owned()))?.name;
    let path = folder.join(name);
    if fs::symlink_metadata(&path).is_err() {
        return Ok((name, path));
    }
    // A link that leads nowhere could be made to lead anywhere.
    let (Ok(root), Ok(real)) = (folder.canonicalize(), path.canonicalize()) else {
        return Err(Trouble::Outside(path));
    };
    if real.starts_with(&root) { Ok((name, real)) } else { Err(Trouble::Outside(path)) }
}

/// The file gets its name when it is whole, and keeps its rights.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let folder = path.parent().unwrap_or(Path::new("/"));
    let mode = fs::metadata(path).map(|known| known.permissions());
    let mode = mode.unwrap_or_else(|_| fs::Permissions::from_mode(super::FILE_MODE));
    let mut whole = Builder::new().prefix(".new-").permissions(mode).tempfile_in(folder)?;
    whole.write_all(text.as_bytes())?;
    whole.as_file().sync_all()?;
    whole.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_names_that_mean_something_and_nothing_outside() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("workspace");
        fs::create_dir(&folder).unwrap();
        let secret = home.path().join("secret");
        fs::write(&secret, "hidden").unwrap();
        for name in ["../secret", "/etc/passwd", "SECRET.md", "memory/AGENTS.md", "agents.md", ""] {
            let told = read(&folder, name).unwrap_err().to_string();
            assert!(told.contains("expected one of AGENTS.md, SOUL.md"), "{name}: {told}");
            assert!(write(&folder, name, "x", None, false).is_err(), "{name}");
        }
        symlink(&secret, folder.join("SOUL.md")).unwrap();
        symlink(home.path().join("nowhere"), folder.join("USER.md")).unwrap();
        for name in ["SOUL.md", "USER.md"] {
            let told = read(&folder, name).unwrap_err().to_string();
            assert!(told.contains("leads out of the workspace"), "{told}");
            assert!(write(&folder, name, "x", None, false).is_err(), "{name}");
        }
        assert_eq!(fs::read_to_string(secret).unwrap(), "hidden");
        assert!(!home.path().join("nowhere").exists());
        // A link inside is a way to keep a text once.
        fs::write(folder.join("rules"), "once").unwrap();
        symlink("rules", folder.join("AGENTS.md")).unwrap();
        assert_eq!(read(&folder, "AGENTS.md").unwrap().text.as_deref(), Some("once"));
        write(&folder, "AGENTS.md", "twice", None, false).unwrap();
        assert_eq!(fs::read_to_string(folder.join("rules")).unwrap(), "twice");
        assert!(folder.join("AGENTS.md").is_symlink());
    }

    #[test]
    fn a_file_is_written_whole_over_what_was_seen() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("workspace");
        assert_eq!(read(&folder, "AGENTS.md").unwrap().text, None);
        let first = write(&folder, "AGENTS.md", "first\n", None, true).unwrap();
        assert_eq!(first.text.as_deref(), Some("first\n"));
        assert!(folder.join("SOUL.md").exists(), "a new workspace has its files");
        let seen = Hash::of("first\n");
        write(&folder, "AGENTS.md", "second\n", Some(seen), true).unwrap();
        let late = write(&folder, "AGENTS.md", "third\n", Some(seen), true).unwrap_err();
        assert!(late.to_string().contains("was changed"), "{late}");
        let long = "x".repeat(BYTES_MAX as usize + 1);
        let long = write(&folder, "AGENTS.md", &long, None, true).unwrap_err();
        assert!(long.to_string().contains("1000001 bytes"), "{long}");
        assert_eq!(read(&folder, "AGENTS.md").unwrap().text.as_deref(), Some("second\n"));
        fs::write(folder.join("USER.md"), [0xff, 0xfe]).unwrap();
        assert!(read(&folder, "USER.md").unwrap_err().to_string().contains("UTF-8"));
    }
}
