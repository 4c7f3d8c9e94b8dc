//! What a search has found, as text that is never longer than its bound.

use std::io::{self, Read};
use std::time::Instant;

use grep_matcher::Matcher;
use grep_searcher::{Searcher, Sink, SinkContext, SinkContextKind, SinkMatch};

use super::{Bounds, Request};

/// Longest part of one line that is shown.
const LINE_BYTES_MAX: usize = 400;

/// How much of a long line is shown before the match in it.
const LEAD_BYTES: usize = 100;

/// Why a search was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    TimedOut,
    Stopped,
}

/// The result, as far as it is there.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub bounds: &'a Bounds,
    text: String,
    results: usize,
    /// Files with a result.
    files: usize,
    pub looked_at: usize,
    /// Files and folders that could not be read.
    pub unreadable: usize,
    /// Files with a line that is too long to be held.
    too_long: usize,
    full: bool,
    pub broken_off: Option<Over>,
}

impl<'a> Found<'a> {
    pub(super) fn new(bounds: &'a Bounds) -> Found<'a> {
        Found {
            bounds,
            text: String::new(),
            results: 0,
            files: 0,
            looked_at: 0,
            unreadable: 0,
            too_long: 0,
            full: false,
            broken_off: None,
        }
    }

    /// Asked before each file.
    pub(super) fn over(&mut self) -> bool {
        self.broken_off = self.broken_off.or_else(|| self.bounds.over());
        self.full || self.broken_off.is_some()
    }

    pub(super) fn name(&mut self, name: &str) {
        if self.takes_one_more() && self.has_room(name.len() + 1) {
            self.text.push_str(name);
            self.text.push('\n');
            self.results += 1;
        }
    }

    /// Counts a file that could not be searched.
    pub(super) fn fault(&mut self, error: &io::Error) {
        match error.kind() {
            // What the searcher says of a line that does not fit its memory.
            io::ErrorKind::Other => self.too_long += 1,
            _ => self.unreadable += 1,
        }
    }

    /// May one more result be added? If not, there are more than are shown.
    fn takes_one_more(&mut self) -> bool {
        self.full |= self.results >= self.bounds.results_max;
        !self.full
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        self.full |= self.text.len() + bytes >= self.bounds.bytes_max;
        !self.full
    }

    pub(super) fn into_text(self, request: &Request) -> Result<String, String> {
        if self.broken_off == Some(Over::Stopped) {
            return Err("the run was stopped".to_owned());
        }
        let count = |n: usize, one: &str, many: &str| {
            if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
        };
        let mut last = match (&request.pattern, self.results) {
            (Some(_), 0) => format!("no match in {}", count(self.looked_at, "file", "files")),
            (None, 0) => "no file has such a name".to_owned(),
            (Some(_), n) => {
                let files = count(self.files, "file", "files");
                format!("{} in {files}", count(n, "match", "matches"))
            }
            (None, n) => count(n, "file", "files"),
        };
        if self.full {
            last.push_str("; there are more: narrow the search, or raise maxResults");
        }
        if self.broken_off == Some(Over::TimedOut) {
            let seconds = self.bounds.timeout.as_secs_f64();
            last.push_str(&format!("; not all was searched: it took longer than {seconds} s"));
        }
        if self.unreadable > 0 {
            last.push_str(&format!("; {} could not be read", self.unreadable));
        }
        if self.too_long > 0 {
            let files = count(self.too_long, "file", "files");
            last.push_str(&format!("; {files} could not be searched to the end"));
        }
        Ok(format!("{}[{last}]", self.text))
    }
}

impl Bounds {
    fn over(&self) -> Option<Over> {
        if self.cancel.is_cancelled() {
            return Some(Over::Stopped);
        }
        (Instant::now() >= self.deadline).then_some(Over::TimedOut)
    }
}

/// A file that ends, as it were, when the search is over: a large one without a match asks
/// nobody else.
#[derive(Debug)]
pub(super) struct Watched<'a, R> {
    pub inner: R,
    pub bounds: &'a Bounds,
    pub broken_off: &'a mut Option<Over>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        *self.broken_off = self.bounds.over();
        if self.broken_off.is_some() {
            return Err(io::Error::other("the search was broken off"));
        }
        self.inner.read(buffer)
    }
}

/// Takes in the lines of one file: its name first, then each with its number.
#[derive(Debug)]
pub(super) struct Lines<'f, 'a, M> {
    pattern: &'f M,
    name: &'f str,
    found: &'f mut Found<'a>,
    headed: bool,
    counted: bool,
    /// Lines are left out before the next one.
    gap: bool,
}

/// Room for what stands around a line: its number, and the line of a gap.
const AROUND_BYTES_MAX: usize = 32;

impl<'f, 'a, M: Matcher> Lines<'f, 'a, M> {
    pub(super) fn new(pattern: &'f M, name: &'f str, found: &'f mut Found<'a>) -> Self {
        Lines { pattern, name, found, headed: false, counted: false, gap: false }
    }

    fn push(&mut self, number: Option<u64>, sign: char, line: &str) -> bool {
        if !self.found.has_room(self.name.len() + line.len() + AROUND_BYTES_MAX) {
            return false;
        }
        let text = &mut self.found.text;
        if !self.headed {
            let between = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{between}{}\n", self.name));
            self.headed = true;
        } else if self.gap {
            text.push_str("--\n");
        }
        self.gap = false;
        let number = number.unwrap_or_default();
        text.push_str(&format!("{number}{sign}{line}\n"));
        true
    }
}

impl<M: Matcher> Sink for Lines<'_, '_, M> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, line: &SinkMatch<'_>) -> io::Result<bool> {
        let bytes = line.bytes();
        let at = self.pattern.find(bytes).ok().flatten().map_or(0, |found| found.start());
        if !self.found.takes_one_more() || !self.push(line.line_number(), ':', &shown(bytes, at)) {
            return Ok(false);
        }
        self.found.results += 1;
        self.found.files += usize::from(!self.counted);
        self.counted = true;
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, line: &SinkContext<'_>) -> io::Result<bool> {
        // What stands before a match that is not shown is not shown either.
        let before = *line.kind() == SinkContextKind::Before;
        if before && !self.found.takes_one_more() {
            return Ok(false);
        }
        Ok(self.push(line.line_number(), '-', &shown(line.bytes(), 0)))
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        self.gap = true;
        Ok(true)
    }
}

/// A line without its end; of a long one the part around `at`.
fn shown(line: &[u8], at: usize) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() <= LINE_BYTES_MAX {
        return String::from_utf8_lossy(line).into_owned();
    }
    let start = at.min(line.len()).saturating_sub(LEAD_BYTES);
    let end = (start + LINE_BYTES_MAX).min(line.len());
    let part = String::from_utf8_lossy(&line[start..end]);
    let part = part.trim_matches('\u{fffd}');
    let cut = |bytes: usize| if bytes == 0 { String::new() } else { format!("[{bytes} bytes]") };
    format!("{}{part}{}", cut(start), cut(line.len() - end))
}
