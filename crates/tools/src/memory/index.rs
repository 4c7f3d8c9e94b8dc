//! The words of the notes, in a file of SQLite's that follows them.
//!
//! A note is cut at its headings, and a long part again, so that what is found is what is meant.
//! Which notes have changed is told by their size and time, as by `make`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::notes::BYTES_MAX;
use crate::workspace::Workspace;

/// Grows with each change of the tables: an index of another number is made anew.
const VERSION: i64 = 1;

/// Longest part of a note, in lines and in bytes.
const PART_LINES_MAX: usize = 40;
const PART_BYTES_MAX: usize = 2_000;

/// Words of a query that are looked for.
const WORDS_MAX: usize = 32;

const TABLES: &str = "
    create table notes (path text primary key, bytes integer not null, stamp text not null) strict;
    create virtual table parts using fts5 (
        text, path unindexed, first unindexed, last unindexed,
        tokenize = 'unicode61 remove_diacritics 2'
    );
";

#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("the index cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the index of another version cannot be used")]
    Version,
    #[error("the index cannot be kept: {0}")]
    File(#[from] io::Error),
}

impl IndexError {
    /// Is it of no use any more? Then it is made anew from the notes.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            IndexError::Version => true,
            IndexError::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull | ErrorCode::CannotOpen)
            ),
            IndexError::File(_) => false,
        }
    }
}

/// A part of a note that has words of the query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hit {
    pub path: String,
    /// Lines, counted from 1.
    pub from: usize,
    pub to: usize,
    /// From 0 to 1; the best match is nearest to 1.
    pub score: f64,
    pub text: String,
}

#[derive(Debug)]
pub(super) struct Index(Connection);

/// Removes an index, with what SQLite keeps beside it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Index {
    pub(super) fn open(path: Option<&Path>) -> Result<Index, IndexError> {
        let connection = match path {
            Some(path) => {
                fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
                Connection::open(path)?
            }
            None => Connection::open_in_memory()?,
        };
        // It can be made anew, so a power cut may have it.
        connection.pragma_update(None, "synchronous", "off")?;
        let version: i64 = connection.query_row("pragma user_version", [], |row| row.get(0))?;
        let tables: i64 =
            connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
        match (version, tables) {
            (VERSION, _) => {}
            (0, 0) => {
                connection.execute_batch(TABLES)?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            _ => return Err(IndexError::Version),
        }
        Ok(Index(connection))
    }

    /// Takes in what has changed, and forgets what is gone.
    pub(super) fn follow(
        &mut self,
        workspace: &Workspace,
        paths: &[String],
    ) -> Result<(), IndexError> {
        let change = self.0.transaction()?;
        let known: Vec<String> = {
            let mut known = change.prepare("select path from notes")?;
            known.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for gone in known.iter().filter(|path| !paths.contains(path)) {
            forget(&change, gone)?;
        }
        for path in paths {
            take_in(&change, workspace, path)?;
        }
        change.commit()?;
        Ok(())
    }

    /// Returns the parts with words of `query`, the best first.
    pub(super) fn find(&self, query: &str, results: usize) -> Result<Vec<Hit>, IndexError> {
        let Some(query) = words(query) else { return Ok(Vec::new()) };
        let mut found = self.0.prepare(
            "select path, first, last, bm25(parts), text from parts where parts match ?1
             order by bm25(parts), path, first limit ?2",
        )?;
        let limit = i64::try_from(results).unwrap_or(i64::MAX);
        let hits = found.query_map(params![query, limit], |row| {
            let line = |at| row.get::<_, i64>(at).map(|n| usize::try_from(n).unwrap_or_default());
            // The lower the better; in a small heap a word of every note may even count against.
            let weight = -row.get::<_, f64>(3)?;
            let score = if weight > 0.0 { weight / (1.0 + weight) } else { 0.0 };
            Ok(Hit { path: row.get(0)?, from: line(1)?, to: line(2)?, score, text: row.get(4)? })
        })?;
        Ok(hits.collect::<Result<_, _>>()?)
    }
}

fn forget(change: &Transaction<'_>, path: &str) -> rusqlite::Result<()> {
    change.execute("delete from parts where path = ?1", [path])?;
    change.execute("delete from notes where path = ?1", [path])?;
    Ok(())
}

/// Reads a note again if it has changed. One that cannot be read is as one that is gone.
fn take_in(change: &Transaction<'_>, workspace: &Workspace, path: &str) -> rusqlite::Result<()> {
    let file = workspace.root().join(path);
    let Ok(found) = file.symlink_metadata() else { return forget(change, path) };
    let bytes = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let stamp = format!("{:?}", modified.unwrap_or_default());
    let same = "select 1 from notes where path = ?1 and bytes = ?2 and stamp = ?3";
    let same = change.query_row(same, params![path, bytes, stamp], |_| Ok(())).optional()?;
    if same.is_some() {
        return Ok(());
    }
    forget(change, path)?;
    let Ok(content) = fs::read(&file) else { return Ok(()) };
    if content.len() as u64 > BYTES_MAX {
        return Ok(());
    }
    for part in parts(&String::from_utf8_lossy(&content)) {
        let insert = "insert into parts (text, path, first, last) values (?1, ?2, ?3, ?4)";
        let line = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        change.execute(insert, params![part.text, path, line(part.from), line(part.to)])?;
    }
    let insert = "insert into notes (path, bytes, stamp) values (?1, ?2, ?3)";
    change.execute(insert, params![path, bytes, stamp])?;
    Ok(())
}

/// Some lines of a note that belong together.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    from: usize,
    to: usize,
    text: String,
}

/// Cuts a note before each heading, and where a part would get too long.
fn parts(note: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (at, line) in note.lines().enumerate() {
        let line_number = at + 1;
        // One line that is too long for a part is one, cut at its end.
        let line = &line[..line.floor_char_boundary(PART_BYTES_MAX)];
        let fits = parts.last().is_some_and(|part| {
            let long = part.text.len() + line.len() > PART_BYTES_MAX;
            !line.starts_with('#') && !long && part.to + 1 - part.from < PART_LINES_MAX
        });
        match parts.last_mut().filter(|_| fits) {
            Some(part) => {
                part.to = line_number;
                part.text.push_str(line);
                part.text.push('\n');
            }
            None => {
                parts.push(Part { from: line_number, to: line_number, text: format!("{line}\n") })
            }
        }
    }
    parts.retain(|part| !part.text.trim().is_empty());
    parts
}

/// A query as FTS5 reads it: any of its words, each as it is or as the beginning of one. Signs
/// that mean something to FTS5 mean nothing here.
fn words(query: &str) -> Option<String> {
    let words = query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(WORDS_MAX).map(|word| format!("\"{word}\"*")).collect();
    (!words.is_empty()).then(|| words.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_at_its_headings_and_where_it_gets_long() {
        let texts = |note: &str| -> Vec<(usize, usize)> {
            parts(note).iter().map(|part| (part.from, part.to)).collect()
        };
        assert_eq!(texts("# a\nx\n\n## b\ny\n"), [(1, 3), (4, 5)]);
        assert_eq!(texts("\n\n"), []);
        assert_eq!(texts(&"x\n".repeat(100)), [(1, 40), (41, 80), (81, 100)]);
        assert_eq!(texts(&format!("{}\nb\n", "é".repeat(3_000))), [(1, 1), (2, 2)]);
    }

    #[test]
    fn signs_of_a_query_mean_nothing() {
        assert_eq!(
            words("a-b \"c\" NOT (d*"),
            Some(r#""a"* OR "b"* OR "c"* OR "NOT"* OR "d"*"#.into())
        );
        assert_eq!(words(" -\"* "), None);
    }
}
