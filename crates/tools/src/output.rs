//! What a command has written: enough for a result in memory, all of it in a file if it goes on.
//!
//! ```text
//!  pipe or terminal ─▶ push ─┬─▶ first and last bytes   what a call answers with
//!                            ├─▶ last bytes             what a poll has not seen
//!                            └─▶ file, bounded          what `process log` pages through
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bound::HeadTail;

/// Last bytes in memory: as much as a poll answers with.
const TAIL_BYTES: usize = 64 * 1024;

/// A command that has written no more than this has no file until it goes on in the background.
const MEMORY_BYTES_MAX: usize = 64 * 1024;

/// Largest file of one command. What comes after it is in the last bytes only: a runaway loop must
/// not fill the disk.
pub(crate) const FILE_BYTES_MAX: u64 = 16 << 20;

/// The output of one command.
#[derive(Debug)]
pub(crate) struct Output {
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug)]
struct Kept {
    ends: HeadTail,
    /// At most twice [`TAIL_BYTES`], so that bytes are moved once in a while and not on each push.
    tail: Vec<u8>,
    total: u64,
    text: Text,
    path: Option<PathBuf>,
}

/// Where all of it is.
#[derive(Debug)]
enum Text {
    Memory(Vec<u8>),
    File {
        file: File,
        bytes: u64,
    },
    /// There is no folder for it, or it cannot be written; only the last bytes are there.
    Nowhere,
}

/// What came after a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Bytes before them that are not in memory any more.
    pub(crate) skipped: u64,
    pub(crate) bytes: Vec<u8>,
    /// All bytes so far.
    pub(crate) total: u64,
}

impl Output {
    /// `ends_bytes_max` bounds what [`Output::text`] returns; `path` is where the file would be.
    pub(crate) fn new(ends_bytes_max: usize, path: Option<PathBuf>) -> Output {
        let kept = Kept {
            ends: HeadTail::new(ends_bytes_max),
            tail: Vec::new(),
            total: 0,
            text: Text::Memory(Vec::new()),
            path,
        };
        Output { kept: Mutex::new(kept), news: Notify::new() }
    }

    /// Of a command of an earlier gateway, whose file is at `path`.
    pub(crate) fn of_file(path: PathBuf) -> io::Result<Output> {
        let mut file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let mut tail = Vec::new();
        let from = bytes.saturating_sub(TAIL_BYTES as u64);
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        file.take(TAIL_BYTES as u64).read_to_end(&mut tail)?;
        let kept = Kept {
            ends: HeadTail::new(0),
            tail,
            total: bytes,
            text: Text::Nowhere,
            path: Some(path),
        };
        Ok(Output { kept: Mutex::new(kept), news: Notify::new() })
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        // Each push leaves it whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        self.locked().push(bytes);
        self.news.notify_waiters();
    }

    /// Waits until there is more than `total` bytes.
    pub(crate) async fn more_than(&self, total: u64) {
        loop {
            // Asked for before it is looked: a push may come in between.
            let news = self.news.notified();
            if self.locked().total > total {
                return;
            }
            news.await;
        }
    }

    /// The first and the last of it, with a line that says what is missing between.
    pub(crate) fn ends(&self) -> Vec<u8> {
        self.locked().ends.clone().into_bytes()
    }

    pub(crate) fn total(&self) -> u64 {
        self.locked().total
    }

    /// What came after the first `seen` bytes.
    pub(crate) fn since(&self, seen: u64) -> News {
        let kept = self.locked();
        let new = usize::try_from(kept.total.saturating_sub(seen)).unwrap_or(usize::MAX);
        let tail = &kept.tail[kept.tail.len().saturating_sub(TAIL_BYTES)..];
        let bytes = tail[tail.len() - new.min(tail.len())..].to_vec();
        News { skipped: (new - bytes.len()) as u64, bytes, total: kept.total }
    }

    /// From now on all of it is in the file, and nobody asks for its ends.
    pub(crate) fn file(&self) {
        let mut kept = self.locked();
        kept.ends = HeadTail::new(0);
        kept.file();
    }

    /// All that is kept, and how many bytes are missing before the last part of it.
    pub(crate) fn all(&self) -> io::Result<(Vec<u8>, u64, Vec<u8>)> {
        let (path, total, tail) = {
            let kept = self.locked();
            if let Text::Memory(all) = &kept.text {
                return Ok((all.clone(), 0, Vec::new()));
            }
            (kept.path.clone(), kept.total, kept.tail.clone())
        };
        let mut all = Vec::new();
        if let Some(path) = path {
            match File::open(path) {
                Ok(file) => {
                    file.take(FILE_BYTES_MAX).read_to_end(&mut all)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // Bytes may have come since: they are in the file and not in `total`.
        let behind = total.saturating_sub(all.len() as u64);
        let shown = usize::try_from(behind).unwrap_or(usize::MAX).min(tail.len());
        let rest = tail[tail.len() - shown..].to_vec();
        Ok((all, behind - shown as u64, rest))
    }

    /// Takes the file away.
    pub(crate) fn remove(&self) {
        let mut kept = self.locked();
        if let (Text::File { .. } | Text::Nowhere, Some(path)) = (&kept.text, &kept.path) {
            // It is not there, or the next start finds it without its owner and removes it.
            let _ = std::fs::remove_file(path);
        }
        kept.text = Text::Nowhere;
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.ends.push(bytes);
        let last = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        self.tail.extend_from_slice(last);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
        match &mut self.text {
            Text::Memory(all) => {
                all.extend_from_slice(&bytes[..bytes.len().min(MEMORY_BYTES_MAX)]);
                if all.len() > MEMORY_BYTES_MAX || bytes.len() > MEMORY_BYTES_MAX {
                    self.file();
                }
            }
            Text::File { .. } => self.append(bytes),
            Text::Nowhere => {}
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let Text::File { file, bytes: written } = &mut self.text else { return };
        let room = usize::try_from(FILE_BYTES_MAX - *written).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        *written += bytes.len() as u64;
        if let Err(error) = file.write_all(bytes) {
            let path = self.path.as_deref().unwrap_or(Path::new(""));
            tracing::warn!(path = %path.display(), %error, "output of a command is not kept");
            self.text = Text::Nowhere;
        }
    }

    fn file(&mut self) {
        let Text::Memory(all) = &mut self.text else { return };
        let all = std::mem::take(all);
        self.text = match self.path.as_deref().map(create) {
            Some(Ok(file)) => Text::File { file, bytes: 0 },
            Some(Err(error)) => {
                tracing::warn!(%error, "no file for the output of a command");
                Text::Nowhere
            }
            None => Text::Nowhere,
        };
        self.append(&all);
    }
}

/// Nobody else on the machine may read what an agent's commands write.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(output: &Output) -> (Vec<u8>, u64, Vec<u8>) {
        output.all().unwrap()
    }

    #[test]
    fn a_short_output_needs_no_file_until_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o");
        let output = Output::new(1_000, Some(path.clone()));
        output.push(b"one\n");
        assert!(!path.exists());
        assert_eq!(all_of(&output), (b"one\n".to_vec(), 0, vec![]));
        output.file();
        output.push(b"two\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(all_of(&output), (b"one\ntwo\n".to_vec(), 0, vec![]));
        assert_eq!(output.since(4), News { skipped: 0, bytes: b"two\n".to_vec(), total: 8 });
        assert_eq!(output.since(8), News { skipped: 0, bytes: vec![], total: 8 });
        output.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_long_output_keeps_its_beginning_in_the_file_and_its_end_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(1_000, Some(folder.path().join("o")));
        let line = [b'x'; 1_023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        let lines = FILE_BYTES_MAX / 1_024 + 100;
        for _ in 0..lines {
            output.push(&line);
        }
        output.push(b"last\n");
        let (head, gap, rest) = all_of(&output);
        assert_eq!(head.len() as u64, FILE_BYTES_MAX);
        assert!(rest.ends_with(b"x\nlast\n"), "{}", rest.len());
        assert_eq!(head.len() as u64 + gap + rest.len() as u64, output.total());
        let News { skipped, bytes, total } = output.since(10);
        assert_eq!((skipped + bytes.len() as u64, bytes.len()), (total - 10, TAIL_BYTES));
    }

    /// One push may be longer than all that is kept in memory.
    #[test]
    fn without_a_folder_the_last_bytes_are_there() {
        let output = Output::new(1_000, None);
        output.push(&[b'a'; 3 * MEMORY_BYTES_MAX]);
        output.push(b"end");
        let (head, gap, rest) = all_of(&output);
        assert!(head.is_empty() && rest.ends_with(b"aend"));
        assert_eq!(gap + rest.len() as u64, output.total());
    }

    #[test]
    fn the_file_of_an_earlier_gateway_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o");
        std::fs::write(&path, "before\n").unwrap();
        let output = Output::of_file(path).unwrap();
        assert_eq!(output.since(0).bytes, b"before\n");
        assert_eq!(all_of(&output), (b"before\n".to_vec(), 0, vec![]));
    }
}
