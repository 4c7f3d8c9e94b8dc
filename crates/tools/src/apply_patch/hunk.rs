//! Where the lines of a hunk stand in a text, and the text with all hunks made.
//!
//! A text is searched from where the hunk before ended. Models get spaces and quotes wrong, so a
//! hunk that stands nowhere as it is written is looked for again with less and less care. What
//! stays of a file stays as the file has it.

use crate::arguments::excerpt;

use super::parse::{Hunk, Line};

/// Why a hunk has no place in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Counted from 1.
    pub hunk: usize,
    /// Its line in the patch.
    pub at: usize,
    pub why: String,
}

/// How two lines are compared, the most careful way first.
const CARE: &[fn(&str, &str) -> bool] = &[
    |one, other| one == other,
    |one, other| one.trim_end() == other.trim_end(),
    |one, other| one.trim() == other.trim(),
    |one, other| plain(one) == plain(other),
];

/// A line as it would be typed: without the signs that models put in the place of ASCII.
fn plain(line: &str) -> String {
    let sign = |c: char| match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        c if c.is_whitespace() => ' ',
        c => c,
    };
    line.trim().chars().map(sign).collect()
}

/// Returns `text` with all `hunks` made.
pub(super) fn apply(text: &str, hunks: &[Hunk]) -> Result<String, Misfit> {
    let breaks = text.matches('\n').count();
    let dos = breaks > 0 && text.matches("\r\n").count() == breaks;
    let (body, ended) = match text.strip_suffix('\n') {
        Some(body) => (body, true),
        // A file that was empty ends as files do.
        None => (text, text.is_empty()),
    };
    let lines: Vec<&str> = if text.is_empty() { Vec::new() } else { body.split('\n').collect() };

    let mut result: Vec<String> = Vec::with_capacity(lines.len());
    let mut done = 0;
    for (i, hunk) in hunks.iter().enumerate() {
        let start =
            place(&lines, hunk, done).map_err(|why| Misfit { hunk: i + 1, at: hunk.at, why })?;
        result.extend(lines[done..start].iter().map(|line| (*line).to_owned()));
        done = start;
        for line in &hunk.lines {
            match line {
                Line::Stays(_) => {
                    result.push(lines[done].to_owned());
                    done += 1;
                }
                Line::Goes(_) => done += 1,
                Line::Comes(text) if dos && !text.ends_with('\r') => {
                    result.push(format!("{text}\r"));
                }
                Line::Comes(text) => result.push(text.clone()),
            }
        }
    }
    result.extend(lines[done..].iter().map(|line| (*line).to_owned()));
    let end = if ended && !result.is_empty() { "\n" } else { "" };
    Ok(result.join("\n") + end)
}

/// Does what the hunks leave behind stand in `text`, one after the other? Asked without care for
/// spaces and places, so that "no" is certain.
pub(super) fn stands(text: &str, hunks: &[Hunk]) -> bool {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    let mut from = 0;
    hunks.iter().all(|hunk| {
        let left: Vec<String> = hunk.left().into_iter().map(plain).collect();
        if left.is_empty() {
            return true;
        }
        let found = lines[from..].windows(left.len()).position(|there| there == left);
        from += found.map_or(0, |at| at + left.len());
        found.is_some()
    })
}

/// Do the lines that a hunk needs stand anywhere but inside what it leaves behind?
pub(super) fn is_free(text: &str, hunk: &Hunk) -> bool {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    let plain = |lines: Vec<&str>| -> Vec<String> { lines.into_iter().map(plain).collect() };
    let (old, left) = (plain(hunk.old()), plain(hunk.left()));
    if old.is_empty() {
        return true;
    }
    let stands_at = |at: usize| left.len() >= old.len() && lines[at..].starts_with(&left);
    let inside = |at: usize| {
        let first = (at + old.len()).saturating_sub(left.len());
        (first..=at).any(stands_at)
    };
    let mut places = (0..lines.len()).filter(|at| lines[*at..].starts_with(&old));
    places.any(|at| !inside(at))
}

/// Where the hunk begins.
fn place(lines: &[&str], hunk: &Hunk, from: usize) -> Result<usize, String> {
    let mut start = from;
    for head in &hunk.heads {
        start = after_head(lines, head, start)
            .ok_or_else(|| format!("no line `{}` was found{}", excerpt(head), after(start)))?;
    }
    let old = hunk.old();
    if old.is_empty() {
        // Lines that only come stand below their `@@` line, or at the end of the file.
        return Ok(if hunk.heads.is_empty() || hunk.ends_file { lines.len() } else { start });
    }
    let fits_at = |at: usize, same: fn(&str, &str) -> bool| {
        let there = lines.get(at..at + old.len());
        there.is_some_and(|there| there.iter().zip(&old).all(|(one, other)| same(one, other)))
    };
    let last = lines.len().checked_sub(old.len()).filter(|last| *last >= start);
    let mut found = None;
    if let Some(last) = last {
        let first = if hunk.ends_file { last } else { start };
        found = CARE.iter().find_map(|same| (first..=last).find(|at| fits_at(*at, *same)));
    }
    found.ok_or_else(|| nearest(lines, &old, start, hunk.ends_file))
}

/// The line after the one that an `@@` names: the whole line, or its beginning.
fn after_head(lines: &[&str], head: &str, from: usize) -> Option<usize> {
    let rest = &lines[from..];
    let begins: fn(&str, &str) -> bool = |line, head| line.trim().starts_with(head.trim());
    let ways = CARE.iter().copied().chain([begins]);
    let mut found = ways.filter_map(|same| rest.iter().position(|line| same(line, head)));
    found.next().map(|at| from + at + 1)
}

fn after(line: usize) -> String {
    if line == 0 { String::new() } else { format!(" after line {line} of the file") }
}

/// Says where most of the first lines of a hunk stand, and what differs there.
fn nearest(lines: &[&str], old: &[&str], start: usize, ends_file: bool) -> String {
    let alike = |at: usize| {
        let there = lines[at..].iter().zip(old);
        there.take_while(|(one, other)| one.trim() == other.trim()).count()
    };
    // The first of the best: `max_by_key` takes the last of equals.
    let best = (start..lines.len()).rev().max_by_key(|at| alike(*at));
    let best = best.map(|at| (at, alike(at))).filter(|(_, alike)| *alike > 0);
    let Some((at, alike)) = best else {
        let first = excerpt(old[0].trim());
        return format!("its first line `{first}` does not occur{}", after(start));
    };
    if alike == old.len() {
        let only = if ends_file { "not at the end of the file" } else { "elsewhere" };
        return format!("its lines stand at line {}, {only}", at + 1);
    }
    let there = lines
        .get(at + alike)
        .map_or("the end of the file".to_owned(), |line| format!("`{}`", excerpt(line.trim())));
    let first = match alike {
        1 => "line stands".to_owned(),
        several => format!("{several} lines stand"),
    };
    format!(
        "its first {first} at line {}, but then the file has {there} and the patch `{}`",
        at + 1,
        excerpt(old[alike].trim())
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hunk(heads: &[&str], lines: &[&str]) -> Hunk {
        let line = |text: &&str| match text.split_at(1) {
            (" ", rest) => Line::Stays(rest.to_owned()),
            ("-", rest) => Line::Goes(rest.to_owned()),
            (_, rest) => Line::Comes(rest.to_owned()),
        };
        Hunk {
            at: 1,
            heads: heads.iter().map(|head| (*head).to_owned()).collect(),
            lines: lines.iter().map(line).collect(),
            ends_file: false,
        }
    }

    #[test]
    fn hunks_find_their_place() {
        #[rustfmt::skip]
        let table = [
            ("a\nb\nc\n",        hunk(&[], &[" a", "-b", "+B", " c"]),      "a\nB\nc\n"),
            ("a\nb\nc",          hunk(&[], &["-c", "+C"]),                  "a\nb\nC"),
            ("",                 hunk(&[], &["+a"]),                        "a\n"),
            ("a\n",              hunk(&[], &["-a"]),                        ""),
            ("a\n",              hunk(&[], &["+b"]),                        "a\nb\n"),
            // The second of two, by the line above it.
            ("f\n x\ng\n x\n",   hunk(&["g"], &["- x", "+ y"]),             "f\n x\ng\n y\n"),
            ("f(a):\n x\ng(b):\n x\n", hunk(&["g("], &["- x", "+ y"]),      "f(a):\n x\ng(b):\n y\n"),
            ("c\n f\n x\nd\n f\n x\n", hunk(&["d", "f"], &["- x"]),         "c\n f\n x\nd\n f\n"),
            ("f\ng\n",           hunk(&["f"], &["+x"]),                     "f\nx\ng\n"),
            // What stays, stays as it was; what comes has the file's line ends.
            ("\ta \nb\n",        hunk(&[], &[" a", "-b", "+B"]),            "\ta \nB\n"),
            ("say \u{201c}x\u{201d}\nb\n", hunk(&[], &[" say \"x\"", "-b"]), "say \u{201c}x\u{201d}\n"),
            ("a\r\nb\r\n",       hunk(&[], &["-b", "+c"]),                  "a\r\nc\r\n"),
        ];
        for (text, hunk, expected) in table {
            let result = apply(text, std::slice::from_ref(&hunk));
            assert_eq!(result.as_deref(), Ok(expected), "{hunk:?}");
        }
        let mut last = hunk(&[], &["-x", "+y"]);
        last.ends_file = true;
        assert_eq!(apply("x\nx\n", &[last]).unwrap(), "x\ny\n");
        // The exact place is taken, although another that is alike stands before it.
        assert_eq!(apply(" x\nx\n", &[hunk(&[], &["-x", "+y"])]).unwrap(), " x\ny\n");
    }

    #[test]
    fn hunks_are_made_in_their_order() {
        let two = [hunk(&[], &["-x", "+1"]), hunk(&[], &["-x", "+2"])];
        assert_eq!(apply("x\nx\nx\n", &two).unwrap(), "1\n2\nx\n");
        let backwards = [hunk(&[], &["-b"]), hunk(&[], &["-a"])];
        assert_eq!(apply("a\nb\n", &backwards).unwrap_err().hunk, 2);
    }

    #[test]
    fn a_hunk_without_a_place_says_what_is_there() {
        let table = [
            ("a\nb\n", hunk(&[], &["-z"]), "its first line `z` does not occur"),
            (
                "a\nb\nc\n",
                hunk(&[], &[" a", " b", "-z"]),
                "its first 2 lines stand at line 1, but then the file has `c` and the patch `z`",
            ),
            (
                "a\n",
                hunk(&[], &[" a", "-z"]),
                "its first line stands at line 1, but then the file has the end of the file \
                 and the patch `z`",
            ),
            ("a\nb\n", hunk(&["zz"], &["-a"]), "no line `zz` was found"),
            (
                "a\nb\n",
                hunk(&["b"], &["-a"]),
                "its first line `a` does not occur after line 2 of the file",
            ),
        ];
        for (text, hunk, expected) in table {
            assert_eq!(apply(text, &[hunk]).unwrap_err().why, expected);
        }
        let mut last = hunk(&[], &["-a"]);
        last.ends_file = true;
        let why = apply("a\nb\n", &[last]).unwrap_err().why;
        assert_eq!(why, "its lines stand at line 1, not at the end of the file");
    }

    proptest! {
        /// Whatever the lines are: a hunk that was cut from a text finds a place in it, and
        /// changes only the lines that it names.
        #[test]
        fn a_hunk_cut_from_a_text_fits(
            before in prop::collection::vec("[ab ]{0,2}", 0..6),
            old in prop::collection::vec("[ab ]{0,2}", 1..4),
            new in prop::collection::vec("[xy]{1,2}", 0..3),
            behind in prop::collection::vec("[ab ]{0,2}", 0..6),
        ) {
            let text: String =
                before.iter().chain(&old).chain(&behind).map(|line| format!("{line}\n")).collect();
            let goes = old.iter().map(|line| Line::Goes(line.clone()));
            let comes = new.iter().map(|line| Line::Comes(line.clone()));
            let lines: Vec<Line> = goes.chain(comes).collect();
            let after = apply(&text, &[Hunk { lines, ..Hunk::default() }]).unwrap();
            let count = before.len() + behind.len() + new.len();
            prop_assert_eq!(after.lines().count(), count);
            prop_assert_eq!(after.matches(['x', 'y']).count(), new.concat().len());
        }
    }
}
