//! The configuration file, looked at while the gateway runs.
//!
//! It is asked for its marks twice a second: that sees an editor that puts another file in the
//! place of the old one, a link that leads elsewhere, a network disk, and a folder that comes
//! later.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway::Configured;
use runtime::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;
use types::Timestamp;

use super::reload::Reloader;

/// How often the file is looked at. It is read when two looks in a row have seen the same: whoever
/// writes it is done.
const LOOK: Duration = Duration::from_millis(500);

/// A file that was written this shortly before it was read may have been written again since with
/// the same time: clocks of disks are coarse.
const COARSE: Duration = Duration::from_secs(2);

/// What changes with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Mark {
    fn of(file: &Metadata) -> Mark {
        let modified = file.modified().ok();
        Mark { device: file.dev(), inode: file.ino(), bytes: file.len(), modified }
    }

    /// Could a change after `read` have left it the same?
    fn is_sure(self, read: Timestamp) -> bool {
        let read = SystemTime::UNIX_EPOCH.checked_add(read.since(Timestamp(0)));
        let age = read.zip(self.modified).and_then(|(read, at)| read.duration_since(at).ok());
        age.is_some_and(|age| age > COARSE)
    }
}

async fn mark(path: &Path) -> Option<Mark> {
    tokio::fs::metadata(path).await.ok().map(|file| Mark::of(&file))
}

/// Has the file read anew whenever it has changed, until `stop`.
pub async fn watch(reloader: Arc<Reloader>, stop: CancellationToken) {
    // What was read at the start may be older than the file is by now.
    let mut read: Option<Option<Mark>> = None;
    let mut before = mark(reloader.file()).await;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let now = mark(reloader.file()).await;
        let steady = now == before;
        before = now;
        if !steady || read == Some(now) || !reloader.watches() {
            continue;
        }
        let began = SystemClock.now();
        let _told = reloader.reload(false).await;
        let sure = now.is_none_or(|now| now.is_sure(began));
        read = sure.then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(modified: SystemTime) -> Mark {
        Mark { device: 1, inode: 2, bytes: 3, modified: Some(modified) }
    }

    #[test]
    fn a_file_that_was_just_written_is_read_once_more() {
        let written = marked(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        for (read, sure) in [(0, false), (1_000, false), (1_002, false), (1_003, true)] {
            assert_eq!(written.is_sure(Timestamp(read * 1_000)), sure, "read at {read} s");
        }
    }

    #[test]
    fn another_file_of_the_same_name_has_another_mark() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        let look = |path: &Path| Mark::of(&std::fs::metadata(path).unwrap());
        std::fs::write(&path, "{}").unwrap();
        let first = look(&path);
        assert_eq!(first, look(&path));
        std::fs::write(&other, "{}").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(first, look(&path));
    }
}
