//! Puts a whole new file in the place of an old one: a crash leaves either, never a mixture.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

/// Keeps two calls from changing one file at once: the second must see what the first wrote.
/// Files share locks by the hash of their path, so that there is a fixed number of them.
static LOCKS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// Holds off every other change of `path` by this process. Take one at a time only.
pub(crate) fn lock(path: &Path) -> MutexGuard<'static, ()> {
    take(place(path))
}

/// As [`lock`], for several at once: all calls take them in the same order, so none waits for one
/// that waits for it.
pub(crate) fn lock_all<'a>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> Vec<MutexGuard<'static, ()>> {
    let places: BTreeSet<usize> = paths.into_iter().map(|path| place(path)).collect();
    places.into_iter().map(take).collect()
}

fn place(path: &Path) -> usize {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish() as usize % LOCKS.len()
}

fn take(place: usize) -> MutexGuard<'static, ()> {
    // It guards no data: a panic while it was held has broken nothing.
    LOCKS[place].lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new content that stands beside its place. Dropping it removes it again.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    path: PathBuf,
    made: Vec<PathBuf>,
}

/// Writes `content` to `path` and makes its folders. When this returns, the file survives a power
/// cut. An existing file keeps its permissions.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    stage(path, content, path)?.put()
}

/// Writes `content` to the disk and to the folder of `path`, where it waits to be put in place.
/// It gets the permissions of `like`, if that is there.
pub(crate) fn stage(path: &Path, content: &[u8], like: &Path) -> io::Result<Staged> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made: Vec<PathBuf> =
        folder.ancestors().take_while(|above| !above.exists()).map(Path::to_owned).collect();
    fs::create_dir_all(folder)?;

    // 0o666 is what every program asks for; the umask takes from it.
    let mut file = tempfile::Builder::new()
        .prefix(".windlass-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    if let Ok(old) = like.metadata() {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    Ok(Staged { file, path: path.to_owned(), made })
}

impl Staged {
    /// The folders that were made for it, the deepest first.
    pub(crate) fn made(&self) -> &[PathBuf] {
        &self.made
    }

    pub(crate) fn put(self) -> io::Result<()> {
        let Staged { file, path, made } = self;
        file.persist(&path)?;
        // The name is an entry of the folder, and a new folder one of the folder above.
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        for above in made.iter().filter_map(|folder| folder.parent()) {
            File::open(above)?.sync_all()?;
        }
        Ok(())
    }
}

/// Refuses to put a file where something else stands, or where the owner forbade writing.
pub(crate) fn check_target(path: &Path, written: &str) -> Result<(), String> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => Err(format!("`{written}` is a folder")),
        Ok(found) if !found.is_file() => Err(format!("`{written}` is not a regular file")),
        Ok(found) if found.permissions().readonly() => Err(format!("`{written}` is read-only")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("cannot look up `{written}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_permissions_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/y/script.sh");
        replace(&path, b"one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        replace(&path, b"two").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        // A file cannot be a folder, and a folder cannot be replaced by a file.
        assert!(replace(&file.join("below"), b"new").is_err());
        assert!(replace(folder.path(), b"new").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }
}
