//! `cargo xtask tidy`: the rules of STYLE.md that a program can check.
//!
//! ```text
//!  files of the clone ─▶ tokens ─┬─▶ size      lines, columns, functions
//!  cargo metadata ─▶ modules ────┼─▶ place     what may stand only in one place
//!                                ├─▶ name      modules named for nothing
//!                                ├─▶ modules   files that no `mod` reaches
//!                                └─▶ link      links between pages
//! ```
//!
//! Each check is a function from text to findings; only this file reads the disk.
//!
//! # Not here
//!
//! What rustfmt and clippy know. Which crate may depend on which is in [`crate::layers`].

mod link;
mod modules;
mod name;
mod place;
mod size;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use crate::metadata::Metadata;
use crate::{layers, run};
use modules::Reach;
use token::Token;

/// One broken rule, at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// From the root of the clone.
    path: PathBuf,
    /// Counted from 1.
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// One Rust file, read and cut into tokens.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
    tokens: Vec<Token>,
}

impl Source {
    fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> anyhow::Result<Source> {
        let (path, text) = (path.into(), text.into());
        let tokens = token::tokens(&text).map_err(|error| {
            anyhow!("{}:{}: {error}", path.display(), error.span().start().line)
        })?;
        Ok(Source { path, text, tokens })
    }

    fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }
}

/// Prints every finding, and fails if there is one.
pub fn run() -> anyhow::Result<()> {
    let root = run::root();
    let metadata = Metadata::load()?;
    let mut found = findings(&root, &metadata)?;
    found.sort();
    for finding in &found {
        println!("{finding}");
    }
    let arrows = layers::violations(&metadata);
    for violation in &arrows {
        println!("{violation}");
    }
    let count = found.len() + arrows.len();
    if count > 0 {
        bail!("{count} findings; STYLE.md has the rules and their reasons");
    }
    eprintln!("tidy: nothing found");
    Ok(())
}

fn findings(root: &Path, metadata: &Metadata) -> anyhow::Result<Vec<Finding>> {
    let files = files_below(root)?;
    let mut sources = BTreeMap::new();
    let mut found = Vec::new();
    for path in files.iter().filter(|path| has_extension(path, "rs")) {
        let source = Source::new(path, read(root, path)?)?;
        found.extend(name::check(&source));
        sources.insert(path.clone(), source);
    }

    let targets = metadata.members().flat_map(|package| &package.targets);
    let roots: Vec<_> = targets
        .filter_map(|target| {
            let path = target.src_path.strip_prefix(root).ok()?.to_path_buf();
            Some((path, if target.is_test() { Reach::Test } else { Reach::Code }))
        })
        .collect();
    found.extend(roots.iter().filter_map(|(path, _)| name::purpose(sources.get(path)?)));
    let reached = modules::reached(&roots, &sources);
    found.extend(modules::dead(&reached, &sources));
    for source in sources.values() {
        let reach = reached.get(&source.path).copied().unwrap_or(Reach::Code);
        found.extend(size::check(source, reach));
        found.extend(place::check(source, reach));
    }

    for path in files.iter().filter(|path| has_extension(path, "md")) {
        found.extend(link::check(path, &read(root, path)?, |target| root.join(target).exists()));
    }
    Ok(found)
}

/// Every file of the clone, from its root, without what cargo and git keep there.
fn files_below(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let at = root.join(&folder);
        let entries = at.read_dir().with_context(|| format!("cannot list {}", at.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let kind = entry.file_type()?;
            if kind.is_dir() && !hidden && path != Path::new("target") {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn read(root: &Path, path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(root.join(path))
        .with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_place_that_editors_jump_to() {
        let source = Source::new("crates/a/src/lib.rs", "").unwrap();
        assert_eq!(source.finding(7, "odd").to_string(), "crates/a/src/lib.rs:7: odd");
    }

    /// One small workspace on disk with one fault of each kind.
    #[test]
    fn every_check_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("crates/a/src")).unwrap();
        std::fs::create_dir_all(root.join("target/doc")).unwrap();
        for (path, text) in [
            ("README.md", "[gone](docs/gone.md)\n"),
            ("target/doc/skipped.rs", "not Rust )\n"),
            ("crates/a/src/lib.rs", "mod helpers;\n"),
            ("crates/a/src/helpers.rs", "fn f() { todo!() }\n"),
            ("crates/a/src/dead.rs", "fn f() { println!(); }\n"),
        ] {
            std::fs::write(root.join(path), text).unwrap();
        }
        let long = "x".repeat(101);
        std::fs::write(root.join("crates/a/src/long.rs"), format!("//! {long}\n")).unwrap();
        let metadata = serde_json::json!({
            "packages": [{
                "id": "a", "name": "a", "version": "0.1.0",
                "dependencies": [],
                "targets": [{
                    "kind": ["lib"], "src_path": root.join("crates/a/src/lib.rs"),
                }],
            }],
            "workspace_members": ["a"], "target_directory": root.join("target"),
        });

        let mut found = findings(root, &serde_json::from_value(metadata).unwrap()).unwrap();
        found.sort();
        let places: Vec<String> =
            found.iter().map(|f| format!("{}:{}", f.path.display(), f.line)).collect();
        assert_eq!(
            places,
            [
                "README.md:1",               // the link leads nowhere
                "crates/a/src/dead.rs:1",    // println! in a library
                "crates/a/src/dead.rs:1",    // no `mod` reaches it
                "crates/a/src/helpers.rs:1", // todo!
                "crates/a/src/helpers.rs:1", // the name
                "crates/a/src/lib.rs:1",     // does not say what it is for
                "crates/a/src/long.rs:1",    // too wide
                "crates/a/src/long.rs:1",    // no `mod` reaches it
            ]
        );
    }
}
