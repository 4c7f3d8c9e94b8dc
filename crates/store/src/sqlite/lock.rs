//! One gateway per state folder: an OS lock that the kernel releases at kill -9.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::StoreError;

/// Name of the lock file in the state folder.
const NAME: &str = "windlass.lock";

/// The right to write in a state folder, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    // Closing it releases the lock. The file stays: deleting it would let two gateways lock two
    // files of the same name.
    _file: File,
}

impl Lock {
    /// Takes the lock of `dir`, or says which process has it.
    pub fn take(dir: &Path) -> Result<Lock, StoreError> {
        let path = dir.join(NAME);
        let closed = |error: std::io::Error| StoreError::NotWritable {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(closed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(locked(file, path)),
            Err(error) => return Err(closed(error.into())),
        }
        file.set_len(0).map_err(closed)?;
        file.rewind().map_err(closed)?;
        match writeln!(file, "{}", std::process::id()) {
            Ok(()) => {}
            // The number is a help for people. On a full disk the lock holds without it.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
            Err(error) => return Err(closed(error)),
        }
        Ok(Lock { _file: file })
    }
}

fn locked(mut file: File, path: PathBuf) -> StoreError {
    let mut pid = String::new();
    // Its writer may be between locking and writing; the error says so.
    let _ = file.read_to_string(&mut pid);
    let pid = pid.trim();
    StoreError::Locked { pid: if pid.is_empty() { "unknown" } else { pid }.to_owned(), path }
}
