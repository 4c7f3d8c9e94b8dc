//! Copies of a live database: whole, compact, and on disk when they have their name.

use std::fs::{self, File};
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::link::named;
use crate::error::StoreError;

/// Copies the database of `connection` to `to`, which must not exist.
///
/// `VACUUM INTO` does not sync what it writes, so the copy gets its name only when it is synced:
/// a cut leaves a file that nobody takes for a backup.
pub fn copy(connection: &Connection, from: &Path, to: &Path) -> Result<(), StoreError> {
    let closed = |error: std::io::Error| StoreError::NotWritable {
        path: to.to_owned(),
        reason: error.to_string(),
    };
    if to.exists() {
        let reason = "there is a file of that name".to_owned();
        return Err(StoreError::NotWritable { path: to.to_owned(), reason });
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    match fs::remove_file(partial) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(closed(error)),
    }
    let name = partial.to_str().ok_or_else(|| StoreError::NotWritable {
        path: to.to_owned(),
        reason: "the path is not UTF-8".to_owned(),
    })?;
    if let Err(error) = connection.execute("vacuum into ?1", [name]) {
        let _ = fs::remove_file(partial);
        // What cannot be opened is the copy: the original is open.
        let cannot_open = error.sqlite_error_code() == Some(ErrorCode::CannotOpen);
        return Err(named(error, if cannot_open { to } else { from }));
    }
    File::open(partial).and_then(|file| file.sync_all()).map_err(closed)?;
    fs::rename(partial, to).map_err(closed)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(closed)
}
