//! Exact replacements in a text, and whether a text shows that they were made.
//!
//! Every edit is matched against the text as it was before any of them, so their order does not
//! matter. All are made or none.

use std::fmt;

/// Replace the one occurrence of `old` by `new`. `old` is not empty and differs from `new`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub old: String,
    pub new: String,
}

/// Why the edits do not fit a text. Positions are counted from 0, as in the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Absent { edit: usize },
    Ambiguous { edit: usize, count: usize },
    Overlap { edit: usize, other: usize },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Absent { edit } => write!(
                f,
                "edits[{edit}].oldText does not occur; it must match exactly, spaces and line \
                 breaks included. Read the file again"
            ),
            Mismatch::Ambiguous { edit, count } => write!(
                f,
                "edits[{edit}].oldText occurs {count} times; it must occur exactly once. Add \
                 lines around it"
            ),
            Mismatch::Overlap { edit, other } => {
                write!(f, "edits[{edit}] and edits[{other}] overlap; make them one edit")
            }
        }
    }
}

/// What a text says about edits that may have been made to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    Made,
    NotMade,
    Unclear,
}

/// Returns `text` with all `edits` made.
pub(crate) fn apply(text: &str, edits: &[Edit]) -> Result<String, Mismatch> {
    let edits = with_line_endings_of(text, edits);
    let mut places = Vec::with_capacity(edits.len());
    for (i, edit) in edits.iter().enumerate() {
        let mut found = occurrences(text, &edit.old);
        let Some(start) = found.next() else { return Err(Mismatch::Absent { edit: i }) };
        if found.next().is_some() {
            // Two that overlap are one to `matches`, and still two places to edit.
            let count = text.matches(&edit.old).count().max(2);
            return Err(Mismatch::Ambiguous { edit: i, count });
        }
        places.push((start, start + edit.old.len(), i));
    }
    places.sort_unstable();
    for pair in places.windows(2) {
        let ((_, end, edit), (start, _, other)) = (pair[0], pair[1]);
        if start < end {
            return Err(Mismatch::Overlap { edit: edit.min(other), other: edit.max(other) });
        }
    }
    let mut result = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end, i) in places {
        result.push_str(&text[done..start]);
        result.push_str(&edits[i].new);
        done = end;
    }
    result.push_str(&text[done..]);
    Ok(result)
}

/// Says whether `edits` were made to what is now `text`.
///
/// All edits are made at once, and none overlaps another; so after they were made, every new text
/// stands there. Call an occurrence of an old text free if it is not inside its own new text.
///
/// | new texts      | old texts      | so                                                |
/// |----------------|----------------|---------------------------------------------------|
/// | one is missing | each is free   | not made: the new texts would all be there        |
/// | all are there  | none is free   | made: each old text would have to be there, free  |
/// | any other case |                | unclear: somebody else changed it, or it could be |
/// |                |                | either, as when two texts trade places            |
///
/// An empty new text is always there, so a deletion that can still be made is unclear. The one
/// wrong answer possible is "made" where the new texts stood there already, around the old ones:
/// then the text has what was wanted, once instead of twice.
///
/// Which line breaks the edits had when they were made depends on the text before, which is gone:
/// so a new text counts as missing only if it is missing with either.
pub(crate) fn trace(text: &str, edits: &[Edit]) -> Trace {
    let as_made = [edits.to_vec(), with_dos_breaks(edits)];
    let now = with_line_endings_of(text, edits);

    let one_missing = |edits: &Vec<Edit>| edits.iter().any(|edit| !text.contains(&edit.new));
    if as_made.iter().all(one_missing) && now.iter().all(|edit| is_free(text, edit)) {
        return Trace::NotMade;
    }
    let all_there = |edits: &Vec<Edit>| edits.iter().all(|edit| is_there(text, edit, edits));
    if as_made.iter().any(all_there) && !now.iter().any(|edit| is_free(text, edit)) {
        return Trace::Made;
    }
    Trace::Unclear
}

/// Does the new text occur as often as `edits` put it there?
fn is_there(text: &str, edit: &Edit, edits: &[Edit]) -> bool {
    let wanted = edits.iter().filter(|other| other.new == edit.new).count();
    edit.new.is_empty() || text.matches(&edit.new).take(wanted).count() == wanted
}

/// Does the old text occur anywhere but inside the new one?
fn is_free(text: &str, edit: &Edit) -> bool {
    let offsets: Vec<usize> = occurrences(&edit.new, &edit.old).collect();
    let inside_new = |at: usize| {
        let mut starts = offsets.iter().filter_map(|offset| at.checked_sub(*offset));
        let new = edit.new.as_bytes();
        starts.any(|start| text.as_bytes()[start..].starts_with(new))
    };
    occurrences(text, &edit.old).any(|at| !inside_new(at))
}

/// Every place where `needle` starts, overlapping ones too.
fn occurrences<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + text.get(from..)?.find(needle)?;
        from = at + text[at..].chars().next().map_or(1, char::len_utf8);
        Some(at)
    })
}

/// Models write `\n`. In a file whose every line ends in `\r\n`, that is what they mean.
fn with_line_endings_of(text: &str, edits: &[Edit]) -> Vec<Edit> {
    let breaks = text.matches('\n').count();
    let dos = breaks > 0 && text.matches("\r\n").count() == breaks;
    if dos { with_dos_breaks(edits) } else { edits.to_vec() }
}

fn with_dos_breaks(edits: &[Edit]) -> Vec<Edit> {
    let fit = |part: &String| {
        if part.contains('\r') { part.clone() } else { part.replace('\n', "\r\n") }
    };
    edits.iter().map(|edit| Edit { old: fit(&edit.old), new: fit(&edit.new) }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edits(pairs: &[(&str, &str)]) -> Vec<Edit> {
        let edit = |(old, new): &(&str, &str)| Edit { old: (*old).into(), new: (*new).into() };
        pairs.iter().map(edit).collect()
    }

    #[test]
    fn edits_are_made_to_the_text_as_it_was() {
        for (text, pairs, expected) in [
            ("one two", &[("one", "1")][..], "1 two"),
            ("one two", &[("two", "one"), ("one", "two")], "two one"),
            ("one two", &[("one ", ""), ("two", "2")], "2"),
            ("ab", &[("a", "b"), ("b", "a")], "ba"),
            ("a\r\nb\r\nc", &[("a\nb", "x\ny\nz")], "x\r\ny\r\nz\r\nc"),
            ("a\r\nb\nc", &[("b\nc", "x\ny")], "a\r\nx\ny"),
            ("é€", &[("€", "é")], "éé"),
        ] {
            assert_eq!(apply(text, &edits(pairs)).unwrap(), expected, "{text:?} {pairs:?}");
        }
    }

    #[test]
    fn edits_that_do_not_fit_are_refused() {
        #[rustfmt::skip]
        let table = [
            ("one two", &[("three", "3")][..],         Mismatch::Absent { edit: 0 }),
            ("one two", &[("one", "1"), ("1", "2")],   Mismatch::Absent { edit: 1 }),
            ("a a a",   &[("a", "b")],                 Mismatch::Ambiguous { edit: 0, count: 3 }),
            ("aaa",     &[("aa", "b")],                Mismatch::Ambiguous { edit: 0, count: 2 }),
            ("abc",     &[("bc", "x"), ("ab", "y")],   Mismatch::Overlap { edit: 0, other: 1 }),
            ("abc",     &[("b", "x"), ("abc", "y")],   Mismatch::Overlap { edit: 0, other: 1 }),
        ];
        for (text, pairs, expected) in table {
            assert_eq!(apply(text, &edits(pairs)), Err(expected), "{text:?} {pairs:?}");
        }
    }

    #[test]
    fn what_a_text_says_about_edits() {
        use Trace::*;

        #[rustfmt::skip]
        let table = [
            // one edit
            ("foo",          &[("foo", "bar")][..],                 NotMade),
            ("bar",          &[("foo", "bar")],                     Made),
            ("foo bar",      &[("foo", "bar")],                     Unclear),
            ("neither",      &[("foo", "bar")],                     Unclear),
            // the new text holds the old one
            ("use a;",       &[("use a;", "use a;\nuse b;")],       NotMade),
            ("use a;\nuse b;", &[("use a;", "use a;\nuse b;")],     Made),
            ("use a;\nuse b;\nuse a;", &[("use a;", "use a;\nuse b;")], Unclear),
            // a deletion
            ("keep drop",    &[(" drop", "")],                      Unclear),
            ("keep",         &[(" drop", "")],                      Made),
            // several
            ("a b",          &[("a", "x"), ("b", "y")],             NotMade),
            ("x y",          &[("a", "x"), ("b", "y")],             Made),
            ("x b",          &[("a", "x"), ("b", "y")],             Unclear),
            ("x z",          &[("a", "x"), ("b", "y")],             Unclear),
            ("a b }",        &[("a", "x"), ("b", "}")],             NotMade),
            ("x",            &[("a", "x"), ("b", "x")],             Unclear),
            ("x x",          &[("a", "x"), ("b", "x")],             Made),
            // two texts trade places: before and after look alike
            ("a b",          &[("a", "b"), ("b", "a")],             Unclear),
            // edited, then one edit taken back by somebody else
            ("a y b",        &[("a", "x"), ("b", "y b")],           Unclear),
            ("a\r\nb",       &[("a\nb", "x\ny")],                   NotMade),
            ("x\r\ny",       &[("a\nb", "x\ny")],                   Made),
        ];
        for (text, pairs, expected) in table {
            assert_eq!(trace(text, &edits(pairs)), expected, "{text:?} {pairs:?}");
        }
    }

    fn any_edits() -> impl Strategy<Value = Vec<Edit>> {
        let edit = ("[ab\r\n]{1,3}", "[ab\r\nc]{0,4}")
            .prop_filter("an edit changes something", |(old, new)| old != new)
            .prop_map(|(old, new)| Edit { old, new });
        prop::collection::vec(edit, 1..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_was_made_is_never_made_again(text in "[abc\r\n]{0,8}", edits in any_edits()) {
            if let Ok(after) = apply(&text, &edits) {
                prop_assert_ne!(trace(&after, &edits), Trace::NotMade, "{:?}", after);
            }
        }

        #[test]
        fn what_was_not_made_is_called_made_only_where_it_stood_already(
            text in "[abc\r\n]{0,8}",
            edits in any_edits(),
        ) {
            if apply(&text, &edits).is_ok() && trace(&text, &edits) == Trace::Made {
                for edit in with_line_endings_of(&text, &edits) {
                    prop_assert!(edit.new.contains(&edit.old) && text.contains(&edit.new));
                }
            }
        }
    }
}
