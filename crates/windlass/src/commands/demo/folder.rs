//! The demo's folder: gone when the demo ends, and if that was killed, when the next one begins.
//!
//! A demo holds a lock on a file of its folder for as long as it lives, and the kernel lets go of
//! it however it ends. So a folder of this name, of this user, with that file, whose lock is free
//! and whose gateway has ended too, belongs to nobody any more.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "windlass-demo-";

/// The file that says whose folder it is, and what stands in it.
const MARK: &str = "demo.lock";
const WORDS: &str =
    "a demo of windlass; its folder may be removed when nobody has this file locked\n";

/// The gateway's own lock.
const GATEWAY: &str = "windlass.lock";

#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes a folder, and removes those that killed demos have left.
    pub fn make() -> anyhow::Result<Folder> {
        let place = std::env::temp_dir();
        for left in leftovers(&place) {
            match std::fs::remove_dir_all(&left) {
                Ok(()) => tracing::info!(folder = %left.display(), "removed a demo's leftover"),
                Err(error) => tracing::warn!(folder = %left.display(), %error, "left as it is"),
            }
        }
        Folder::make_in(&place)
    }

    fn make_in(place: &Path) -> anyhow::Result<Folder> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place)?;
        let mut lock =
            File::create_new(folder.path().join(MARK)).context("cannot mark the folder")?;
        // Before it says what it is: until then nobody takes it for a leftover.
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        lock.write_all(WORDS.as_bytes())?;
        Ok(Folder { folder, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Folders in `place` that are provably those of demos that have ended.
fn leftovers(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.filter(|path| is_left(path).unwrap_or(false)).collect()
}

fn is_left(path: &Path) -> std::io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = std::fs::symlink_metadata(path)?;
    let own = folder.uid() == rustix::process::getuid().as_raw();
    if !name.starts_with(PREFIX) || !folder.is_dir() || !own {
        return Ok(false);
    }
    let mark = path.join(MARK);
    let marked = std::fs::symlink_metadata(&mark)?.is_file();
    Ok(marked
        && std::fs::read_to_string(&mark)? == WORDS
        && is_free(&mark)?
        && is_free(&path.join(GATEWAY))?)
}

/// Does nobody hold the lock of this file? One that is not there is held by nobody.
fn is_free(file: &Path) -> std::io::Result<bool> {
    let file = match OpenOptions::new().read(true).write(true).open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_provably_left_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let alive = Folder::make_in(place.path()).unwrap();
        let make = |name: &str, words: Option<&str>| {
            let folder = place.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            if let Some(words) = words {
                std::fs::write(folder.join(MARK), words).unwrap();
            }
            folder
        };
        make("windlass-demo-notes", None);
        make("windlass-demo-other", Some("something else"));
        make("my-windlass-demo-1", Some(WORDS));
        let served = make("windlass-demo-served", Some(WORDS));
        let gateway = File::create(served.join(GATEWAY)).unwrap();
        flock(&gateway, FlockOperation::NonBlockingLockExclusive).unwrap();
        let left = make("windlass-demo-left", Some(WORDS));
        std::os::unix::fs::symlink(&left, place.path().join("windlass-demo-link")).unwrap();
        assert_eq!(leftovers(place.path()), std::slice::from_ref(&left));
        drop(gateway);
        let mut found = leftovers(place.path());
        found.sort();
        assert_eq!(found, [left, served]);
        assert!(alive.path().exists());
    }
}
