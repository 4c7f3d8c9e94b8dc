//! Which files the compiler sees: it follows `mod` from the root of each target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::Delimiter;

use super::token::{Kind, Token, is_ident};
use super::{Finding, Source};

/// Who compiles a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Only tests do.
    Test,
    /// The program does.
    Code,
}

/// Returns every file that a `mod` leads to from one of `roots`.
pub fn reached(
    roots: &[(PathBuf, Reach)],
    sources: &BTreeMap<PathBuf, Source>,
) -> BTreeMap<PathBuf, Reach> {
    let mut reached: BTreeMap<PathBuf, Reach> = BTreeMap::new();
    let mut open: Vec<Module> = Vec::new();
    for (path, reach) in roots {
        // Beside a root, as beside a `mod.rs`, its modules lie in the same folder.
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        open.push(Module { path: path.clone(), folder, reach: *reach });
    }
    while let Some(module) = open.pop() {
        let Some(source) = sources.get(&module.path) else { continue };
        // A file that both see counts as code.
        let seen = reached.get(&module.path).copied();
        if seen >= Some(module.reach) {
            continue;
        }
        reached.insert(module.path.clone(), module.reach);
        open.extend(declared(&source.tokens, &module, sources));
    }
    reached
}

/// Returns the files that nothing compiles.
pub fn dead(
    reached: &BTreeMap<PathBuf, Reach>,
    sources: &BTreeMap<PathBuf, Source>,
) -> Vec<Finding> {
    let dead = sources.values().filter(|source| !reached.contains_key(&source.path));
    dead.map(|source| source.finding(1, "no `mod` leads to this file")).collect()
}

/// A file, and the folder where the modules that it declares lie.
struct Module {
    path: PathBuf,
    folder: PathBuf,
    reach: Reach,
}

fn declared(tokens: &[Token], module: &Module, sources: &BTreeMap<PathBuf, Source>) -> Vec<Module> {
    let mut found = Vec::new();
    // The folders of the inline modules around us, with where each ends.
    let mut inline: Vec<(String, usize)> = Vec::new();
    for at in 0..tokens.len().saturating_sub(2) {
        inline.retain(|(_, close)| at < *close);
        let Kind::Ident(name) = &tokens[at + 1].kind else { continue };
        if !is_ident(&tokens[at], "mod") {
            continue;
        }
        let name = name.trim_start_matches("r#");
        match tokens[at + 2].kind {
            Kind::Open(Delimiter::Brace, close) => inline.push((name.to_owned(), close)),
            Kind::Punct(';') => {
                let folder = inline
                    .iter()
                    .fold(module.folder.clone(), |folder, (name, _)| folder.join(name));
                let is_test = tokens[at].is_test || module.reach == Reach::Test;
                let reach = if is_test { Reach::Test } else { Reach::Code };
                let candidates = match path_attribute(&tokens[..at]) {
                    Some(path) => vec![beside(&module.path, &path)],
                    None => {
                        vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]
                    }
                };
                let file = candidates.into_iter().find(|path| sources.contains_key(path));
                found.extend(file.map(|path| Module { folder: folder_of(&path), path, reach }));
            }
            _ => {}
        }
    }
    found
}

/// Where the modules lie that the file at `path` declares.
fn folder_of(path: &Path) -> PathBuf {
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        path.parent().unwrap_or(Path::new("")).to_path_buf()
    } else {
        path.with_extension("")
    }
}

/// The text of `#[path = "…"]`, if that is the last attribute before a `mod`.
fn path_attribute(before: &[Token]) -> Option<String> {
    let end = before.len() - usize::from(before.last().is_some_and(|t| is_ident(t, "pub")));
    let [.., key, equals, value, close] = &before[..end] else { return None };
    let is_path = is_ident(key, "path") && equals.kind == Kind::Punct('=');
    match &value.kind {
        Kind::Literal(path) if is_path && close.kind == Kind::Close => {
            Some(path.trim_matches('"').to_owned())
        }
        _ => None,
    }
}

/// Joins `path` to the folder of `file`, with `..` resolved, as our keys have none.
fn beside(file: &Path, path: &str) -> PathBuf {
    let mut joined = file.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in path.split('/').filter(|part| *part != ".") {
        if part == ".." {
            joined.pop();
        } else {
            joined.push(part);
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> BTreeMap<PathBuf, Source> {
        let source = |(path, text): &(&str, &str)| Source::new(*path, *text).unwrap();
        files.iter().map(source).map(|source| (source.path.clone(), source)).collect()
    }

    fn dead_files(files: &[(&str, &str)], roots: &[(&str, Reach)]) -> Vec<String> {
        let sources = tree(files);
        let roots: Vec<_> = roots.iter().map(|(path, reach)| (path.into(), *reach)).collect();
        let found = dead(&reached(&roots, &sources), &sources);
        found.iter().map(|finding| finding.path.display().to_string()).collect()
    }

    #[test]
    fn every_way_to_declare_a_module_is_followed() {
        let files = [
            ("src/lib.rs", "mod a; pub mod b; mod c { mod d; } #[path = \"odd/e.rs\"] mod x;"),
            ("src/a.rs", "mod deep;"),
            ("src/a/deep.rs", ""),
            ("src/b/mod.rs", "mod side;"),
            ("src/b/side.rs", ""),
            ("src/c/d.rs", "#[path = \"../f.rs\"] pub mod f;"),
            ("src/f.rs", ""),
            ("src/odd/e.rs", ""),
            ("tests/it/main.rs", "mod case;"),
            ("tests/it/case.rs", ""),
        ];
        let roots = [("src/lib.rs", Reach::Code), ("tests/it/main.rs", Reach::Test)];
        assert_eq!(dead_files(&files, &roots), [""; 0]);
    }

    #[test]
    fn a_file_that_no_module_names_is_dead() {
        let files = [
            ("src/lib.rs", "// mod commented;\nmod a;"),
            ("src/a.rs", ""),
            ("src/commented.rs", "mod child;"),
            ("src/commented/child.rs", ""),
            // Declared by `a`, so it belongs in `src/a`.
            ("src/lost.rs", ""),
        ];
        assert_eq!(
            dead_files(&files, &[("src/lib.rs", Reach::Code)]),
            ["src/commented/child.rs", "src/commented.rs", "src/lost.rs"]
        );
    }

    #[test]
    fn a_file_is_test_code_if_only_tests_reach_it() {
        let sources = tree(&[
            ("src/lib.rs", "#[cfg(test)] mod script; mod both;"),
            ("src/script.rs", "mod inner;"),
            ("src/script/inner.rs", ""),
            ("src/both.rs", ""),
            ("tests/it.rs", "#[path = \"../src/both.rs\"] mod both;"),
        ]);
        let roots = [("src/lib.rs".into(), Reach::Code), ("tests/it.rs".into(), Reach::Test)];
        let reached = reached(&roots, &sources);
        let reach = |path: &str| reached[Path::new(path)];
        assert_eq!(reach("src/script.rs"), Reach::Test);
        assert_eq!(reach("src/script/inner.rs"), Reach::Test);
        assert_eq!(reach("src/both.rs"), Reach::Code);
        assert_eq!(reach("tests/it.rs"), Reach::Test);
    }
}
