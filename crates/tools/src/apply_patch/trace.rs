//! Whether the files show that a patch was made to them.
//!
//! Each file is asked for itself, since a crash may have come between two of them:
//!
//! | operation | not made                          | made                                     |
//! |-----------|-----------------------------------|------------------------------------------|
//! | add       | there is no file                  | the file has this content                |
//! | delete    | the file is there                 | it is not                                |
//! | update    | the hunks fit, and what they      | what they leave stands there, and they   |
//! |           | leave does not stand there        | fit nowhere but inside of that           |
//! | move      | only the source is there          | only the target is there, as they leave  |
//! |           |                                   | it                                       |
//!
//! All not made: the patch may be made. All made: it was. Anything else is unclear: made in part,
//! or changed by somebody else, or a text in which both fit. A patch that names a file twice is
//! unclear, too: what one operation left is not seen any more.

use std::path::{Path, PathBuf};

use crate::edit::text_of;

use super::parse::{Hunk, Operation};
use super::plan::resolve;
use super::{Request, hunk};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    Made,
    NotMade,
    Unclear,
}

pub(super) fn trace(request: &Request) -> Trace {
    let mut named: Vec<PathBuf> = Vec::new();
    let mut all: Option<Trace> = None;
    for operation in &request.operations {
        // A path that is refused now was refused then, with all of the patch.
        let Ok(paths) = paths(request, operation) else { return Trace::NotMade };
        if paths.iter().any(|path| named.contains(path)) {
            return Trace::Unclear;
        }
        let one = of(request, operation, &paths);
        named.extend(paths);
        if one == Trace::Unclear || all.is_some_and(|all| all != one) {
            return Trace::Unclear;
        }
        all = Some(one);
    }
    all.unwrap_or(Trace::NotMade)
}

fn paths(request: &Request, operation: &Operation) -> Result<Vec<PathBuf>, String> {
    let resolve = |path: &String| resolve(&request.workspace, path);
    match operation {
        Operation::Add { path, .. } | Operation::Delete { path } => Ok(vec![resolve(path)?]),
        Operation::Update { path, move_to, .. } => {
            [Some(path), move_to.as_ref()].into_iter().flatten().map(resolve).collect()
        }
    }
}

fn of(request: &Request, operation: &Operation, paths: &[PathBuf]) -> Trace {
    let text = |path: &Path| text_of(path, "", request.bytes_max).ok();
    let there = |path: &Path| path.symlink_metadata().is_ok();
    match (operation, paths) {
        (Operation::Add { content, .. }, [path]) => match text(path) {
            Some(found) if found == *content => Trace::Made,
            None if !there(path) => Trace::NotMade,
            _ => Trace::Unclear,
        },
        (Operation::Delete { .. }, [path]) if there(path) => Trace::NotMade,
        (Operation::Delete { .. }, _) => Trace::Made,
        (Operation::Update { hunks, .. }, [path]) => match text(path) {
            Some(text) => of_text(&text, hunks),
            None => Trace::Unclear,
        },
        (Operation::Update { hunks, .. }, [from, to]) => match (there(from), there(to)) {
            (true, false) => Trace::NotMade,
            (false, true) if text(to).is_some_and(|text| hunk::stands(&text, hunks)) => Trace::Made,
            _ => Trace::Unclear,
        },
        _ => Trace::Unclear,
    }
}

/// What comes and what stays of each hunk has to stand there, one after the other, once the patch
/// was made. So if it does not, and the patch fits, the patch was not made.
fn of_text(text: &str, hunks: &[Hunk]) -> Trace {
    let fits = hunk::apply(text, hunks).is_ok();
    match hunk::stands(text, hunks) {
        false if fits => Trace::NotMade,
        // It fits where it was made, if what it adds stands at its edge. That is no other place.
        true if !fits || !hunks.iter().any(|hunk| hunk::is_free(text, hunk)) => Trace::Made,
        _ => Trace::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::apply_patch::parse::Line;

    fn any_hunk() -> impl Strategy<Value = Hunk> {
        let line = prop_oneof![
            "[ab ]{1,2}".prop_map(Line::Stays),
            "[ab ]{1,2}".prop_map(Line::Goes),
            "[abc ]{1,2}".prop_map(Line::Comes),
        ];
        let lines = prop::collection::vec(line, 1..4);
        let heads = prop::collection::vec("[ab]", 0..2);
        (lines, heads, any::<bool>()).prop_map(|(lines, heads, ends_file)| Hunk {
            at: 1,
            heads,
            lines,
            ends_file,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_was_made_is_never_made_again(
            lines in prop::collection::vec("[abc ]{1,2}", 0..8),
            hunks in prop::collection::vec(any_hunk(), 1..3),
            dos in any::<bool>(),
        ) {
            let end = if dos { "\r\n" } else { "\n" };
            let text: String = lines.iter().map(|line| format!("{line}{end}")).collect();
            if let Ok(after) = hunk::apply(&text, &hunks) {
                prop_assert_ne!(of_text(&after, &hunks), Trace::NotMade, "{:?}", after);
            }
        }
    }

    #[test]
    fn what_a_text_says_about_hunks() {
        let hunk = |lines: &[Line]| Hunk { at: 1, lines: lines.to_vec(), ..Hunk::default() };
        let stays = |text: &str| Line::Stays(text.to_owned());
        let goes = |text: &str| Line::Goes(text.to_owned());
        let comes = |text: &str| Line::Comes(text.to_owned());
        let replace = hunk(&[stays("a"), goes("b"), comes("B")]);
        let insert = hunk(&[stays("a"), comes("x"), stays("b")]);
        let delete = hunk(&[stays("a"), goes("b")]);
        let at_edge = hunk(&[comes("x"), stays("b")]);
        let append = hunk(&[comes("x")]);
        use Trace::*;
        for (text, hunk, expected) in [
            ("a\nb\n", &replace, NotMade),
            ("a\nB\n", &replace, Made),
            ("a\nB\na\nb\n", &replace, Unclear),
            ("z\n", &replace, Unclear),
            ("a\nb\n", &insert, NotMade),
            ("a\nx\nb\n", &insert, Made),
            // Its context stands there before and after.
            ("a\nb\n", &delete, Unclear),
            ("a\n", &delete, Made),
            ("b\n", &at_edge, NotMade),
            ("x\nb\n", &at_edge, Made),
            ("x\nb\nb\n", &at_edge, Unclear),
            // Nothing shows where lines without context come from.
            ("a\n", &append, NotMade),
            ("a\nx\n", &append, Unclear),
        ] {
            assert_eq!(of_text(text, std::slice::from_ref(hunk)), expected, "{text:?} {hunk:?}");
        }
    }
}
