//! Room for work that has begun, on a disk that has none left.
//!
//! ```text
//!             disk full                    twice the ballast is free
//!  whole ───────────────▶ freed, inputs refused ───────────────▶ whole
//! ```
//!
//! A file of some size is kept for nothing but to be deleted. With the room that it leaves, open
//! runs commit their steps; new inputs are refused until there is room for the file again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use types::Timestamp;

/// Steps of running runs write kilobytes each, so this lasts for hours of them.
pub const BYTES: u64 = 64 * 1024 * 1024;

/// How often to look whether there is room again. Looking costs two system calls.
const LOOK: Duration = Duration::from_secs(30);

const NAME: &str = "ballast";

#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
    full: bool,
    next_look: Timestamp,
}

impl Ballast {
    /// Lays the ballast in `dir`, if there is room for it and as much again.
    pub fn lay(dir: &std::path::Path, bytes: u64) -> Ballast {
        let path = dir.join(NAME);
        let ballast = Ballast { path, bytes, full: false, next_look: Timestamp(0) };
        match ballast.create() {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                path = %ballast.path.display(), bytes,
                "the disk is nearly full: there is no room for a reserve"
            ),
            Err(error) => tracing::warn!(
                path = %ballast.path.display(), bytes, %error,
                "no reserve for a full disk could be made"
            ),
        }
        ballast
    }

    /// Are inputs refused?
    pub fn full(&self) -> bool {
        self.full
    }

    /// The disk is full: gives the room up.
    pub fn free(&mut self, now: Timestamp) {
        let had = fs::metadata(&self.path).map_or(0, |file| file.len());
        let freed = match fs::remove_file(&self.path) {
            Ok(()) => had,
            Err(_) => 0,
        };
        tracing::error!(
            path = %self.path.display(), freed,
            "the disk is full: inputs are refused until there is room; running work goes on"
        );
        self.full = true;
        self.next_look = now + LOOK;
    }

    /// Looks now and then whether there is room again.
    pub fn look(&mut self, now: Timestamp) {
        if !self.full || now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        match self.create() {
            Ok(true) => {
                self.full = false;
                tracing::info!("there is room on the disk again: inputs are accepted");
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the reserve could not be made again"),
        }
    }

    /// Makes the file. Returns false if there is not room for it and as much again: a ballast
    /// that fills the disk itself would be freed at once.
    fn create(&self) -> io::Result<bool> {
        if fs::metadata(&self.path).is_ok_and(|file| file.len() == self.bytes) {
            return Ok(true);
        }
        let folder = self.path.parent().unwrap_or(&self.path);
        let room = rustix::fs::statvfs(folder)?;
        if room.f_bavail.saturating_mul(room.f_frsize) < self.bytes.saturating_mul(2) {
            return Ok(false);
        }
        let result = self.fill();
        if result.is_err() {
            // Half a ballast is none, and may be what fills the disk.
            let _ = fs::remove_file(&self.path);
        }
        result.map(|()| true)
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = File::create(&self.path)?;
        if self.bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = vec![0; 1024 * 1024];
        let mut left = self.bytes;
        while left > 0 {
            let part = left.min(zeros.len() as u64);
            file.write_all(&zeros[..part as usize])?;
            left -= part;
        }
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_freed_and_laid_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        let mut ballast = Ballast::lay(dir.path(), 100_000);
        assert_eq!(fs::metadata(&file).unwrap().len(), 100_000);
        assert!(!ballast.full());

        ballast.free(Timestamp(0));
        assert!(ballast.full() && !file.exists());

        ballast.look(Timestamp(29_999));
        assert!(ballast.full(), "not looked at so soon");
        ballast.look(Timestamp(30_000));
        assert!(!ballast.full() && file.exists());
    }

    #[test]
    fn more_than_the_disk_holds_is_not_laid() {
        let dir = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::lay(dir.path(), u64::MAX / 4);
        assert!(!ballast.full(), "a small disk may still be enough");
        ballast.free(Timestamp(0));
        ballast.look(Timestamp(60_000));
        assert!(ballast.full());
    }
}
