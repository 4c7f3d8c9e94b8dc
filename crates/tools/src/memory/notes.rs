//! Which files of a workspace are notes.

use std::fs;
use std::path::Path;

use crate::workspace::Workspace;

/// Notes beside those of the folder.
const FILES: [&str; 2] = ["MEMORY.md", "USER.md"];
const FOLDER: &str = "memory";

/// More files than a person or an agent writes by hand.
const FILES_MAX: usize = 5_000;

/// A larger file is no note, and would be read again whenever it changes.
pub(super) const BYTES_MAX: u64 = 1 << 20;

const DEPTH_MAX: usize = 8;

/// The notes that there are, relative to the workspace, sorted.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub paths: Vec<String>,
    /// Files that are too large, or more than can be taken.
    pub left_out: usize,
}

/// Lists the notes. Links are left out: they may lead outside, or in a circle.
pub(super) fn list(workspace: &Workspace) -> Notes {
    let mut notes = Notes::default();
    for name in FILES {
        take(&mut notes, workspace.root(), name.to_owned());
    }
    walk(&mut notes, workspace.root(), FOLDER.to_owned(), 0);
    notes.paths.sort();
    notes
}

fn walk(notes: &mut Notes, root: &Path, folder: String, depth: usize) {
    let path = root.join(&folder);
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|_| is_folder) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{folder}/{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < DEPTH_MAX {
            walk(notes, root, path, depth + 1);
        } else if name.ends_with(".md") {
            take(notes, root, path);
        }
    }
}

fn take(notes: &mut Notes, root: &Path, path: String) {
    let Ok(found) = root.join(&path).symlink_metadata() else { return };
    if !found.is_file() {
        return;
    }
    if found.len() > BYTES_MAX || notes.paths.len() >= FILES_MAX {
        notes.left_out += 1;
    } else {
        notes.paths.push(path);
    }
}

/// Reads the note that a model names.
pub(super) fn read(workspace: &Workspace, written: &str) -> Result<String, String> {
    let real = workspace.resolve(written).map_err(|error| error.to_string())?;
    let path = workspace.relative(&real).to_string_lossy();
    let is_note =
        FILES.contains(&path.as_ref()) || path.ends_with(".md") && path.starts_with("memory/");
    if !is_note {
        return Err(format!(
            "`{written}` is no note: those are MEMORY.md, USER.md and memory/*.md; for other \
             files use read"
        ));
    }
    let bytes = match fs::metadata(&real) {
        Ok(found) if found.is_file() => found.len(),
        _ => {
            return Err(format!(
                "there is no note `{written}`; memory_search finds those there are"
            ));
        }
    };
    if bytes > BYTES_MAX {
        return Err(format!("`{written}` has {bytes} bytes, too many for a note; use read"));
    }
    let bytes = fs::read(&real).map_err(|error| format!("cannot read `{written}`: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
