//! What stands in the state folder of a command in the background: so much that the next gateway
//! can say what became of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use types::{RunId, SessionKey};

use super::end::End;
use super::entry::{About, Entry};
use super::table::millis;

/// A command in the background, as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Note {
    pub(super) id: String,
    session: SessionKey,
    run: RunId,
    command: String,
    terminal: bool,
    timeout_ms: u64,
    pub(super) started_ms: u64,
    /// How it has ended; it runs if that is not said.
    pub(super) ended: Option<String>,
}

impl Note {
    pub(super) fn of(entry: &Entry) -> Note {
        let about = &entry.about;
        Note {
            id: about.id.clone(),
            session: about.session.clone(),
            run: about.run,
            command: about.command.clone(),
            terminal: about.terminal,
            timeout_ms: u64::try_from(about.timeout.as_millis()).unwrap_or(u64::MAX),
            started_ms: millis(entry.started),
            ended: None,
        }
    }

    pub(super) fn ended_as(self, end: &End) -> Note {
        let words = end.words();
        let words = words.strip_prefix('[').and_then(|words| words.strip_suffix(']'));
        Note { ended: Some(words.map_or_else(|| end.short(), str::to_owned)), ..self }
    }

    pub(super) fn about(&self, grace: Duration) -> About {
        About {
            id: self.id.clone(),
            session: self.session.clone(),
            run: self.run,
            command: self.command.clone(),
            terminal: self.terminal,
            timeout: Duration::from_millis(self.timeout_ms),
            grace,
            bounds: None,
        }
    }

    pub(super) fn started(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.started_ms)
    }

    /// Reads a note; anything else is none.
    pub(super) fn read(path: &Path) -> Option<Note> {
        if path.extension().is_none_or(|extension| extension != "json") {
            return None;
        }
        let note: Option<Note> = serde_json::from_slice(&fs::read(path).ok()?).ok();
        // What is named otherwise than it says was not written by us.
        note.filter(|note| path.file_stem().is_some_and(|stem| *stem == *note.id))
    }

    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", self.id))
    }

    /// Writes it. What cannot be written is not known after a restart, and no more.
    pub(super) fn write(&self, folder: &Path) {
        let path = self.path(folder);
        let partial = path.with_extension("partial");
        let written = || -> std::io::Result<()> {
            let text = serde_json::to_vec(self)?;
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            options.open(&partial)?.write_all(&text)?;
            fs::rename(&partial, &path)
        };
        if let Err(error) = written() {
            tracing::warn!(path = %path.display(), %error, "a command is not written down");
        }
    }

    /// Writes it if there is one of an earlier time.
    pub(super) fn write_over(&self, folder: &Path) {
        if self.path(folder).exists() {
            self.write(folder);
        }
    }

    pub(super) fn remove(&self, folder: &Path) {
        // Gone already, or found again at the next start.
        let _ = fs::remove_file(self.path(folder));
        let _ = fs::remove_file(folder.join(format!("{}.log", self.id)));
    }
}
