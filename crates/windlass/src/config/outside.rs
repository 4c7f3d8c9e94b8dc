//! What a configuration may ask of the world: variables and small files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The world as a configuration sees it.
pub trait Outside {
    /// Returns an environment variable; an empty one counts as unset.
    fn var(&self, name: &str) -> Option<String>;

    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<String>;
}

/// The environment and the files of this process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

/// Largest file, in bytes. A configuration is a few kilobytes; a mistaken path may be anything.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

impl Outside for Process {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistaken_path_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("windlass.json");
        std::fs::write(&path, " ".repeat(1024 * 1024)).unwrap();
        assert_eq!(Process.read(&path).unwrap().len(), 1024 * 1024);
        std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        assert_eq!(Process.read(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(Process.read(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
