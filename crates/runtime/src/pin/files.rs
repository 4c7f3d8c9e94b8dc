//! Workspace files, as they are pinned: read once, bounded, and any cut said.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use machine::policy::Role;
use types::Hash;

use crate::config::Bootstrap;

/// Workspace files of an agent's own conversations, in the order in which they are sent.
const MAIN_FILES: &[&str] =
    &["AGENTS.md", "SOUL.md", "USER.md", "IDENTITY.md", "TOOLS.md", "MEMORY.md"];

/// A sub-agent works to a brief: it gets the rules of the house, not persona and memory.
const CHILD_FILES: &[&str] = &["AGENTS.md"];

/// A file, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub name: &'static str,
    /// With the words about what was cut.
    pub text: String,
    pub cut: bool,
}

impl Pinned {
    /// Names what is sent of the file: a change behind the cut is none.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.text)
    }
}

/// Reads the files of a role that are there. One that cannot be read is left out, and the log says
/// why: a session must not fail because of a file.
pub fn read(workspace: &Path, role: Role, bounds: Bootstrap) -> Vec<Pinned> {
    let names = if role == Role::Main { MAIN_FILES } else { CHILD_FILES };
    let mut files = Vec::new();
    let mut room = bounds.total_chars_max;
    for name in names {
        let path = workspace.join(name);
        match read_file(&path, bounds.file_chars_max, room) {
            Ok((text, cut)) => {
                room -= text.chars().count().min(room);
                files.push(Pinned { name, text, cut });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a workspace file is left out");
            }
        }
    }
    files
}

/// Reads a file up to the smaller bound, and no more of it into memory.
fn read_file(path: &Path, chars_max: usize, room: usize) -> std::io::Result<(String, bool)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = Vec::new();
    let shown_max = chars_max.min(room);
    // No character has more than four bytes; one more tells that there is a cut.
    file.take(4 * (shown_max as u64 + 1)).read_to_end(&mut head)?;
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_end();
    let Some((end, _)) = text.char_indices().nth(shown_max) else {
        return Ok((text.to_owned(), false));
    };
    let bound = if shown_max < chars_max { "of all files together" } else { "of one file" };
    let words = format!(
        "{}\n[cut: {shown_max} characters of this file of {length} bytes are shown, the bound \
         {bound}; `read` shows the rest]",
        text[..end].trim_end()
    );
    Ok((words, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(file_chars_max: usize, total_chars_max: usize) -> Bootstrap {
        Bootstrap { file_chars_max, total_chars_max, ..Bootstrap::default() }
    }

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn names(files: &[Pinned]) -> Vec<&str> {
        files.iter().map(|file| file.name).collect()
    }

    #[test]
    fn a_child_gets_the_rules_of_the_house_only() {
        let folder = written(&[("SOUL.md", "s"), ("AGENTS.md", "a\n\n"), ("HEARTBEAT.md", "h")]);
        let read = |role| read(folder.path(), role, Bootstrap::default());
        assert_eq!(names(&read(Role::Main)), ["AGENTS.md", "SOUL.md"]);
        assert_eq!(names(&read(Role::Orchestrator)), ["AGENTS.md"]);
        assert_eq!(names(&read(Role::Leaf)), ["AGENTS.md"]);
        assert_eq!(read(Role::Leaf)[0].text, "a");
    }

    #[test]
    fn a_long_file_is_cut_between_characters_and_says_so() {
        let folder = written(&[("AGENTS.md", &"é".repeat(100)), ("SOUL.md", &"y".repeat(101))]);
        let files = read(folder.path(), Role::Main, bounds(100, 10_000));
        assert_eq!((files[0].text.as_str(), files[0].cut), ("é".repeat(100).as_str(), false));
        let (head, words) = files[1].text.split_once('\n').unwrap();
        assert_eq!((head, files[1].cut), ("y".repeat(100).as_str(), true));
        assert_eq!(
            words,
            "[cut: 100 characters of this file of 101 bytes are shown, the bound of one file; \
             `read` shows the rest]"
        );
    }

    #[test]
    fn all_files_together_have_a_bound() {
        let folder = written(&[("AGENTS.md", &"a".repeat(80)), ("SOUL.md", &"s".repeat(80))]);
        let files = read(folder.path(), Role::Main, bounds(100, 120));
        assert!(!files[0].cut && files[1].cut);
        assert!(files[1].text.starts_with(&"s".repeat(40)));
        assert!(!files[1].text.contains(&"s".repeat(41)));
        assert!(files[1].text.contains("the bound of all files together"), "{}", files[1].text);
    }

    #[test]
    fn what_is_behind_the_cut_changes_nothing() {
        let hash = |text: &str| {
            read(written(&[("AGENTS.md", text)]).path(), Role::Leaf, bounds(3, 60))[0].hash()
        };
        assert_eq!(hash("abcdef"), hash("abcxyz"));
        assert_ne!(hash("abcdef"), hash("abxdef"));
    }
}
