//! What files are called, and how they begin.

use std::path::Component;

use super::token::{Kind, Token, is_ident};
use super::{Finding, Source};

/// Names that say nothing, and so collect everything.
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "misc", "manager", "service", "handler"];

pub fn check(source: &Source) -> Vec<Finding> {
    let mut found: Vec<Finding> = of_path(source).into_iter().collect();
    for pair in source.tokens.windows(3) {
        found.extend(of_inline_module(source, pair));
    }
    found
}

fn of_path(source: &Source) -> Option<Finding> {
    let folders_and_stem = source.path.with_extension("");
    let name = folders_and_stem.components().find_map(|component| match component {
        Component::Normal(name) => EMPTY_NAMES.iter().find(|empty| name == **empty),
        _ => None,
    })?;
    Some(source.finding(1, refusal(name)))
}

/// `mod x { … }`; what `mod x;` names is a file, and found there.
fn of_inline_module(source: &Source, tokens: &[Token]) -> Option<Finding> {
    let [keyword, Token { kind: Kind::Ident(name), line, .. }, open] = tokens else { return None };
    let is_module = is_ident(keyword, "mod") && matches!(open.kind, Kind::Open(..));
    let is_empty = EMPTY_NAMES.contains(&name.as_str());
    (is_module && is_empty).then(|| source.finding(*line, refusal(name)))
}

fn refusal(name: &str) -> String {
    format!("a module named `{name}` says nothing of what it holds; name the thing")
}

/// Checks that the root file of a target says what it is for.
pub fn purpose(root: &Source) -> Option<Finding> {
    let first = root.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty());
    (!says).then(|| root.finding(1, "the first line must be `//!` and say what this is for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing() {
        for (path, text, count) in [
            ("crates/store/src/row.rs", "mod fence { } mod helpers;", 0),
            ("crates/store/src/utils.rs", "", 1),
            ("crates/store/src/common/mod.rs", "", 1),
            ("crates/store/src/row.rs", "mod helpers { }", 1),
            ("crates/store/src/manager.rs", "mod misc { }", 2),
            // Only whole words: a session manager would still be one, a missing row is not.
            ("crates/store/src/missing.rs", "fn common() {}", 0),
        ] {
            let found = check(&Source::new(path, text).unwrap());
            assert_eq!(found.len(), count, "{path} {text}: {found:?}");
        }
    }

    #[test]
    fn a_root_says_what_it_is_for() {
        for (text, is_found) in [
            ("//! Rows.\n", false),
            ("//!\n//! Rows.\n", true),
            ("mod a;\n//! Rows.\n", true),
            ("", true),
        ] {
            // Not `Source::new`: a doc comment in the wrong place is not Rust to the lexer.
            let (path, tokens) = ("src/lib.rs".into(), Vec::new());
            let root = Source { path, text: text.to_owned(), tokens };
            assert_eq!(purpose(&root).is_some(), is_found, "{text:?}");
        }
    }
}
