//! `read`: a page of a text file, or the names in a folder.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use types::{EffectClass, ToolSpec};

use crate::arguments::{Arguments, Refused};
use crate::workspace::Workspace;
use crate::{Config, Tool, ToolContext, ToolOutput, blocking};

const REFUSED: &[Refused] = &[
    ("file_path", "use `path`"),
    ("cursor", "use `offset`, a line number"),
    ("optional", "a file that is missing is an error that does no harm"),
];

/// How much of a file is looked at to tell whether it is text.
const SNIFF_BYTES: u64 = 8 * 1024;

/// Most entries of a folder that are sorted: they are held in memory.
const ENTRIES_MAX: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Read {
    spec: ToolSpec,
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    lines_max: usize,
    bytes_max: usize,
    line_bytes_max: usize,
}

/// A call, checked.
#[derive(Debug)]
struct Request {
    path: PathBuf,
    written: String,
    /// The first line wanted, counted from 1.
    offset: usize,
    bounds: Bounds,
    cancel: CancellationToken,
}

impl Read {
    pub(crate) fn new(config: &Config) -> Read {
        let bounds = Bounds {
            lines_max: config.read_lines_max,
            bytes_max: config.read_bytes_max,
            line_bytes_max: config.read_line_bytes_max.min(config.read_bytes_max),
        };
        let spec = ToolSpec {
            name: "read".to_owned(),
            description: format!(
                "Read a text file or list a folder, {} lines or {} KB at a time; the last line \
                 says how to go on.",
                bounds.lines_max,
                bounds.bytes_max / 1024
            ),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "path": { "type": "string" },
                    "offset": { "type": "integer", "description": "First line, from 1" },
                    "limit": { "type": "integer", "description": "Lines" },
                },
                "required": ["path"],
            }),
        };
        Read { spec, bounds }
    }

    fn request(&self, context: &ToolContext, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, &[], REFUSED, arguments)?;
        let written = arguments.required("path")?.to_owned();
        let offset = arguments.integer("offset", 1..=u32::MAX)?.unwrap_or(1) as usize;
        let mut bounds = self.bounds;
        if let Some(limit) = arguments.integer("limit", 1..=u32::MAX)? {
            bounds.lines_max = bounds.lines_max.min(limit as usize);
        }
        let workspace = Workspace::open(&context.workspace).map_err(|error| error.to_string())?;
        let path = workspace.resolve(&written).map_err(|error| error.to_string())?;
        Ok(Request { path, written, offset, bounds, cancel: context.cancel.clone() })
    }
}

#[async_trait]
impl Tool for Read {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        match self.request(context, arguments) {
            Ok(request) => blocking(move || read(&request)).await.into(),
            Err(error) => ToolOutput::error(error),
        }
    }
}

fn read(request: &Request) -> Result<String, String> {
    let written = &request.written;
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file or folder `{written}`"),
        _ => format!("cannot read `{written}`: {error}"),
    };
    // Asked before the file is opened: opening a pipe would wait for its writer.
    let found = request.path.metadata().map_err(cannot)?;
    if found.is_dir() {
        let names = names_in(&request.path).map_err(cannot)?;
        return page(request, &mut names.as_bytes(), "the folder is empty").map_err(cannot)?;
    }
    if !found.is_file() {
        return Err(format!("`{written}` is neither a file nor a folder"));
    }
    let mut file = File::open(&request.path).map_err(cannot)?;
    let mut start = Vec::new();
    file.by_ref().take(SNIFF_BYTES).read_to_end(&mut start).map_err(cannot)?;
    if start.contains(&0) {
        let bytes = found.len();
        return Err(format!(
            "`{written}` is a binary file of {bytes} bytes; look into it with exec"
        ));
    }
    let mut source = BufReader::new(start.as_slice().chain(file));
    page(request, &mut source, "the file is empty").map_err(cannot)?
}

/// One name a line, sorted; folders end in `/`.
fn names_in(folder: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    let mut entries = fs::read_dir(folder)?;
    for entry in entries.by_ref().take(ENTRIES_MAX) {
        let entry = entry?;
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        // A line break in a name would look like two entries.
        let name = entry.file_name().to_string_lossy().replace(char::is_control, "\u{fffd}");
        names.push(format!("{name}{slash}\n"));
    }
    names.sort_unstable();
    if entries.next().is_some() {
        names.push(format!("[only {ENTRIES_MAX} entries were looked at; use exec to see more]\n"));
    }
    Ok(names.concat())
}

/// Returns the lines wanted and, if there are more, how to go on. The inner error is the model's
/// doing, the outer one the file's.
fn page(
    request: &Request,
    source: &mut impl BufRead,
    empty: &str,
) -> io::Result<Result<String, String>> {
    let Request { offset, bounds, cancel, .. } = request;
    let mut text = String::new();
    let mut skipped = 0;
    while skipped < offset - 1 {
        if next_line(source, 0, cancel)?.is_none() {
            let lines = if skipped == 1 { "1 line".to_owned() } else { format!("{skipped} lines") };
            return Ok(Err(format!("offset {offset} is past the end: there are {lines}")));
        }
        skipped += 1;
    }
    let mut shown = 0;
    while let Some(line) = next_line(source, bounds.line_bytes_max, cancel)? {
        let line = line.shown();
        if shown == bounds.lines_max || (shown > 0 && text.len() + line.len() > bounds.bytes_max) {
            let (last, next) = (skipped + shown, skipped + shown + 1);
            end_line(&mut text);
            text.push_str(&format!(
                "[lines {offset} to {last} shown; there are more: go on with offset {next}]"
            ));
            return Ok(Ok(text));
        }
        text.push_str(&line);
        shown += 1;
    }
    Ok(match (skipped, shown) {
        (0, 0) => Ok(format!("[{empty}]")),
        (_, 0) => Err(format!("offset {offset} is past the end: there are {skipped} lines")),
        _ => Ok(text),
    })
}

fn end_line(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

/// One line with its line break, or the start of it.
struct Line {
    kept: Vec<u8>,
    total: u64,
}

impl Line {
    fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        match self.total - self.kept.len() as u64 {
            0 => text.into_owned(),
            cut => {
                format!("{} [{cut} more bytes in this line]\n", text.trim_end_matches('\u{fffd}'))
            }
        }
    }
}

/// Reads one line and keeps at most `bytes_max` of it, however long it is.
fn next_line(
    source: &mut impl BufRead,
    bytes_max: usize,
    cancel: &CancellationToken,
) -> io::Result<Option<Line>> {
    let mut line = Line { kept: Vec::new(), total: 0 };
    loop {
        if cancel.is_cancelled() {
            return Err(io::Error::other("the run was stopped"));
        }
        let buffer = source.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = bytes_max - line.kept.len();
        line.kept.extend_from_slice(&part[..part.len().min(room)]);
        line.total += part.len() as u64;
        let (taken, ended) = (part.len(), end.is_some() || part.is_empty());
        source.consume(taken);
        if ended {
            return Ok((line.total > 0).then_some(line));
        }
    }
}
