//! The write-ahead log beside a database: how much was appended to it, and in how many commits.
//!
//! # Source
//!
//! <https://sqlite.org/fileformat2.html#the_write_ahead_log>: a header of 32 bytes, then frames of a
//! header of 24 bytes and a page each. Frames of the present log carry the salt of its header, and
//! the last of a commit says how many pages the database has.

use std::path::Path;

use anyhow::Context;

const HEADER: usize = 32;
const FRAME: usize = 24;

/// What the log holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    salt: u64,
    pub bytes: u64,
    pub commits: u64,
}

impl Log {
    pub fn of(database: &Path) -> anyhow::Result<Log> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        let log = std::fs::read(&path).context("cannot read the log beside the database")?;
        parse(&log).context("what lies beside the database is no log")
    }

    /// What has been appended since an earlier look. A log that was moved is begun anew.
    pub fn since(self, earlier: Log) -> Log {
        let Log { bytes, commits, .. } =
            if self.salt == earlier.salt { earlier } else { Log { bytes: 0, commits: 0, ..self } };
        Log { salt: self.salt, bytes: self.bytes - bytes, commits: self.commits - commits }
    }
}

fn parse(log: &[u8]) -> Option<Log> {
    let page = u32::from_be_bytes(log.get(8..12)?.try_into().ok()?) as usize;
    let salt = log.get(16..24)?;
    let mut found = Log { salt: u64::from_be_bytes(salt.try_into().ok()?), bytes: 0, commits: 0 };
    for frame in log.get(HEADER..)?.chunks_exact(FRAME + page) {
        if frame[8..16] != *salt {
            break;
        }
        found.bytes += frame.len() as u64;
        found.commits += u64::from(frame[4..8] != [0; 4]);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(salt: u8, frames: &[(u8, u8)]) -> Vec<u8> {
        let mut log = vec![0; HEADER];
        log[10] = 2;
        log[16..24].fill(salt);
        for (salt, commits) in frames {
            let mut frame = vec![0; FRAME + 512];
            frame[7] = *commits;
            frame[8..16].fill(*salt);
            log.extend(frame);
        }
        log
    }

    #[test]
    fn counts_the_frames_of_the_present_log() {
        let early = parse(&log(1, &[(1, 0), (1, 9), (1, 9), (0, 9)])).unwrap();
        assert_eq!((early.bytes, early.commits), (3 * 536, 2));
        let later = parse(&log(1, &[(1, 0), (1, 9), (1, 9), (1, 9)])).unwrap();
        assert_eq!((later.since(early).bytes, later.since(early).commits), (536, 1));
        let anew = parse(&log(2, &[(2, 9), (1, 9), (1, 9), (1, 9)])).unwrap();
        assert_eq!((anew.since(later).bytes, anew.since(later).commits), (536, 1));
        assert_eq!(parse(b"no log"), None);
    }
}
