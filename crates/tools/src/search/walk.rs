//! Which files a search looks at, in the order of their paths.

use std::fs::File;
use std::io;
use std::path::Path;

use grep_matcher::Matcher;
use grep_searcher::{BinaryDetection, MmapChoice, Searcher, SearcherBuilder};
use ignore::{DirEntry, WalkBuilder};

use super::lines::{Found, Lines, Over, Watched};
use super::{Names, Request};

/// Longest line that is searched, about: it is held in memory.
const LINE_HEAP_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(super) fn search(request: &Request) -> Result<String, String> {
    let written = &request.written;
    let target = request.target.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file or folder `{written}`"),
        _ => format!("cannot search `{written}`: {error}"),
    })?;
    let mut found = Found::new(&request.bounds);
    let mut searcher = searcher(request.context);
    if target.is_file() {
        // Named by its path, so it is meant, whatever .gitignore says.
        look(request, &mut searcher, &request.target, &mut found);
        return found.into_text(request);
    }
    if !target.is_dir() {
        return Err(format!("`{written}` is neither a file nor a folder"));
    }
    let mut reached = false;
    for entry in walk(request) {
        if found.over() {
            break;
        }
        match entry {
            Ok(entry) if entry.path().starts_with(&request.target) => {
                reached = true;
                // Links are left out: what they point to has a path of its own, or is outside.
                let file = entry.file_type().is_some_and(|kind| kind.is_file());
                if file && wanted(request, entry.path()) {
                    look(request, &mut searcher, entry.path(), &mut found);
                }
            }
            Ok(_) => {}
            Err(_) => found.unreadable += 1,
        }
    }
    if !reached && !found.over() {
        return Ok(format!("[.gitignore excludes `{written}`; set includeIgnored to search it]"));
    }
    found.into_text(request)
}

fn searcher(context: usize) -> Searcher {
    SearcherBuilder::new()
        .line_number(true)
        .before_context(context)
        .after_context(context)
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(LINE_HEAP_BYTES_MAX))
        // A file that shrinks while it is mapped ends the process.
        .memory_map(MmapChoice::never())
        .build()
}

/// Walks from the root down to the target, so that each `.gitignore` on the way is heard.
fn walk(request: &Request) -> ignore::Walk {
    let respect = !request.include_ignored;
    let target = request.target.clone();
    WalkBuilder::new(request.workspace.root())
        .hidden(false)
        .parents(false)
        .ignore(respect)
        .git_ignore(respect)
        .git_exclude(respect)
        .git_global(false)
        .require_git(false)
        .follow_links(false)
        .sort_by_file_name(|one, other| one.cmp(other))
        .filter_entry(move |entry| is_on_the_way(entry, &target))
        .build()
}

fn is_on_the_way(entry: &DirEntry, target: &Path) -> bool {
    let path = entry.path();
    let inside = path.starts_with(target);
    // Git's own store is no text; who wants it names a path in it.
    let store = entry.file_name() == ".git" && !target.starts_with(path);
    (inside || target.starts_with(path)) && !store
}

fn wanted(request: &Request, path: &Path) -> bool {
    let Some(Names(glob)) = &request.glob else { return true };
    let from = |base: &Path| path.strip_prefix(base).is_ok_and(|rest| glob.is_match(rest));
    from(&request.target) || from(request.workspace.root())
}

/// Looks at one file: at its lines, or at its name only.
fn look(request: &Request, searcher: &mut Searcher, path: &Path, found: &mut Found<'_>) {
    let name = request.workspace.relative(path).to_string_lossy();
    // A line break in a name would look like two.
    let name = name.replace(char::is_control, "\u{fffd}");
    let Some(pattern) = &request.pattern else { return found.name(&name) };
    found.looked_at += 1;
    if let Err(error) = lines_of(pattern, searcher, path, &name, found)
        && found.broken_off.is_none()
    {
        found.fault(&error);
    }
}

fn lines_of<M: Matcher>(
    pattern: &M,
    searcher: &mut Searcher,
    path: &Path,
    name: &str,
    found: &mut Found<'_>,
) -> io::Result<()> {
    let file = File::open(path)?;
    let bounds = found.bounds;
    let mut broken_off: Option<Over> = None;
    let watched = Watched { inner: file, bounds, broken_off: &mut broken_off };
    let result = searcher.search_reader(pattern, watched, Lines::new(pattern, name, found));
    found.broken_off = broken_off;
    result
}
