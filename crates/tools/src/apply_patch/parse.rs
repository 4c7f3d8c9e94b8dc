//! The text of a patch becomes operations, or an error that names its line.

use crate::arguments::excerpt;

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File: ";
const DELETE: &str = "*** Delete File: ";
const UPDATE: &str = "*** Update File: ";
const MOVE: &str = "*** Move to: ";
const END_OF_FILE: &str = "*** End of File";

/// Most files and hunks of one patch: each hunk is looked for in a whole file.
const HUNKS_MAX: usize = 1_000;

/// What is to be done with one file. Paths are as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add { path: String, content: String },
    Delete { path: String },
    Update { path: String, move_to: Option<String>, hunks: Vec<Hunk> },
}

/// Lines of a file that follow each other, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Where it begins in the patch, counted from 1.
    pub at: usize,
    /// Lines that stand somewhere before it, outermost first.
    pub heads: Vec<String>,
    pub lines: Vec<Line>,
    /// Its lines are the last of the file.
    pub ends_file: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Stays(String),
    Goes(String),
    Comes(String),
}

impl Hunk {
    /// The lines that are there before it is made.
    pub(super) fn old(&self) -> Vec<&str> {
        let old = |line: &'_ Line| !matches!(line, Line::Comes(_));
        self.lines.iter().filter(|line| old(line)).map(Line::text).collect()
    }

    /// The lines that are there after it was made.
    pub(super) fn left(&self) -> Vec<&str> {
        let left = |line: &'_ Line| !matches!(line, Line::Goes(_));
        self.lines.iter().filter(|line| left(line)).map(Line::text).collect()
    }

    fn changes(&self) -> bool {
        self.lines.iter().any(|line| !matches!(line, Line::Stays(_)))
    }
}

impl Line {
    pub(super) fn text(&self) -> &str {
        match self {
            Line::Stays(text) | Line::Goes(text) | Line::Comes(text) => text,
        }
    }
}

/// The lines of a patch, with their numbers.
struct Lines<'a> {
    all: Vec<&'a str>,
    /// How many were taken.
    taken: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.all.get(self.taken).copied()
    }

    /// The next line, if it may belong to what is being read.
    fn next_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        let line = self.peek().filter(|line| wanted(line))?;
        self.taken += 1;
        Some(line)
    }

    fn error(&self, what: impl std::fmt::Display) -> String {
        format!("line {} of the patch: {what}", self.taken + 1)
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Operation>, String> {
    let all: Vec<&str> = unwrapped(text.trim()).lines().collect();
    let mut lines = Lines { all, taken: 0 };
    if lines.next_if(|line| line.trim() == BEGIN).is_none() {
        let found = excerpt(lines.peek().unwrap_or_default());
        return Err(format!("the patch must begin with a line `{BEGIN}`; it has `{found}`"));
    }
    let mut operations = Vec::new();
    let mut hunks = 0;
    while lines.next_if(|line| line.trim() == END).is_none() {
        let Some(line) = lines.peek() else {
            return Err(format!("the patch must end with a line `{END}`"));
        };
        if line.trim().is_empty() {
            lines.taken += 1;
            continue;
        }
        let operation = operation(&mut lines)?;
        hunks += match &operation {
            Operation::Update { hunks, .. } => hunks.len().max(1),
            _ => 1,
        };
        if hunks > HUNKS_MAX {
            return Err(format!("the patch has more than {HUNKS_MAX} hunks; make it two"));
        }
        operations.push(operation);
    }
    match lines.peek() {
        Some(_) => Err(lines.error(format_args!("nothing may follow `{END}`"))),
        None if operations.is_empty() => Err("the patch changes nothing".to_owned()),
        None => Ok(operations),
    }
}

/// Takes off the shell's `<<'EOF'` that some models write around a patch.
fn unwrapped(text: &str) -> &str {
    let Some((first, rest)) = text.split_once('\n') else { return text };
    let Some((_, word)) = first.split_once("<<") else { return text };
    let word = word.trim().trim_matches(['\'', '"']);
    if word.is_empty() || first.starts_with("***") {
        return text;
    }
    rest.trim_end().strip_suffix(word).map_or(text, str::trim_end)
}

fn operation(lines: &mut Lines<'_>) -> Result<Operation, String> {
    let line = lines.peek().unwrap_or_default();
    let path = |prefix: &str| {
        line.strip_prefix(prefix).map(|path| path.trim().to_owned()).filter(|p| !p.is_empty())
    };
    if let Some(path) = path(ADD) {
        lines.taken += 1;
        return Ok(Operation::Add { path, content: added(lines)? });
    }
    if let Some(path) = path(DELETE) {
        lines.taken += 1;
        return Ok(Operation::Delete { path });
    }
    let Some(path) = path(UPDATE) else {
        return Err(lines.error(format_args!(
            "expected `{ADD}PATH`, `{UPDATE}PATH`, `{DELETE}PATH` or `{END}`; got `{}`",
            excerpt(line)
        )));
    };
    lines.taken += 1;
    let moved = lines.next_if(|line| line.starts_with(MOVE));
    let move_to = moved.map(|line| line[MOVE.len()..].trim().to_owned());
    if move_to.as_ref().is_some_and(String::is_empty) {
        return Err(format!("line {} of the patch: `{}` names no path", lines.taken, MOVE.trim()));
    }
    let hunks = hunks(lines)?;
    if hunks.is_empty() && move_to.is_none() {
        return Err(lines.error(format_args!("the update of `{path}` has no hunk")));
    }
    Ok(Operation::Update { path, move_to, hunks })
}

fn is_marker(line: &str) -> bool {
    line.starts_with("*** ")
}

fn added(lines: &mut Lines<'_>) -> Result<String, String> {
    let mut content = String::new();
    while let Some(line) = lines.next_if(|line| !is_marker(line)) {
        let Some(text) = line.strip_prefix('+') else {
            lines.taken -= 1;
            let what = "each line of a new file begins with `+`";
            return Err(lines.error(format_args!("{what}; got `{}`", excerpt(line))));
        };
        content.push_str(text);
        content.push('\n');
    }
    Ok(content)
}

fn hunks(lines: &mut Lines<'_>) -> Result<Vec<Hunk>, String> {
    let mut hunks: Vec<Hunk> = Vec::new();
    while lines.peek().is_some_and(|line| !is_marker(line)) {
        // A blank line between the parts of a patch belongs to no part.
        if lines.next_if(|line| line.trim().is_empty()).is_some() {
            continue;
        }
        let hunk = hunk(lines)?;
        if !hunk.changes() {
            let at = hunk.at;
            return Err(format!("line {at} of the patch: the hunk changes nothing"));
        }
        hunks.push(hunk);
    }
    Ok(hunks)
}

fn hunk(lines: &mut Lines<'_>) -> Result<Hunk, String> {
    let mut hunk = Hunk { at: lines.taken + 1, ..Hunk::default() };
    while let Some(line) = lines.next_if(|line| line.starts_with("@@")) {
        let head = line[2..].trim();
        // `@@ -1,4 +1,5 @@`: numbers are of another format, and models count badly.
        let numbers = head.starts_with('-') && head.contains("@@");
        if !head.is_empty() && !numbers {
            hunk.heads.push(head.trim_end_matches("@@").trim_end().to_owned());
        }
    }
    while let Some(line) = lines.next_if(|line| !line.starts_with("@@") && !is_marker(line)) {
        let mut chars = line.chars();
        let first = chars.next();
        let rest = chars.as_str().to_owned();
        hunk.lines.push(match first {
            Some(' ') => Line::Stays(rest),
            Some('-') => Line::Goes(rest),
            Some('+') => Line::Comes(rest),
            None => Line::Stays(rest),
            Some(_) => {
                lines.taken -= 1;
                return Err(lines.error(format_args!(
                    "a line of a hunk begins with a space, `-` or `+`; got `{}`",
                    excerpt(line)
                )));
            }
        });
    }
    hunk.ends_file = lines.next_if(|line| line.trim() == END_OF_FILE).is_some();
    if !hunk.ends_file && lines.peek().is_none_or(is_marker) {
        while hunk.lines.last().is_some_and(|line| *line == Line::Stays(String::new())) {
            hunk.lines.pop();
        }
    }
    Ok(hunk)
}
