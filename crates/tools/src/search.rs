//! `search`: which files there are, and which of their lines match.
//!
//! Made of ripgrep's crates. Links are not followed and nothing above the workspace is read, not
//! even its `.gitignore`: what is found is inside, and is the same wherever the workspace lies.

mod lines;
mod walk;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use globset::{Glob, GlobBuilder, GlobMatcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use types::{EffectClass, ToolSpec};

use crate::arguments::{Arguments, Refused, excerpt};
use crate::workspace::Workspace;
use crate::{Config, Tool, ToolContext, ToolOutput, blocking};

const REFUSED: &[Refused] = &[
    ("query", "use `pattern`"),
    ("regex", "use `pattern`"),
    ("include", "use `glob`"),
    ("limit", "use `maxResults`"),
    ("head_limit", "use `maxResults`"),
    ("output_mode", "with `pattern` the lines are shown; with `glob` alone the names"),
];

/// Longer patterns are files of their own.
const PATTERN_BYTES_MAX: usize = 4 * 1024;
const GLOB_BYTES_MAX: usize = 1024;

/// More lines around a match are better read in the file.
const CONTEXT_LINES_MAX: u32 = 20;

/// Taken, and not in the schema: a pattern can say both.
const HIDDEN: &[&str] = &["literal", "ignoreCase"];

const RESULTS: u32 = 100;
const RESULTS_MAX: u32 = 1_000;

#[derive(Debug)]
pub(crate) struct Search {
    spec: ToolSpec,
    bytes_max: usize,
    timeout: Duration,
}

/// A call, checked.
#[derive(Debug)]
struct Request {
    workspace: Workspace,
    /// The file or folder to search, inside the workspace.
    target: PathBuf,
    written: String,
    pattern: Option<RegexMatcher>,
    glob: Option<Names>,
    context: usize,
    bounds: Bounds,
    include_ignored: bool,
}

/// When a search is long enough.
#[derive(Clone, Debug)]
struct Bounds {
    results_max: usize,
    bytes_max: usize,
    deadline: Instant,
    timeout: Duration,
    cancel: CancellationToken,
}

/// Which names are wanted: `*.rs` in any folder, `src/*.rs` from where the search begins or from
/// the workspace.
#[derive(Debug)]
struct Names(GlobMatcher);

impl Names {
    fn new(text: &str) -> Result<Names, String> {
        let plain = text.trim_start_matches("./").trim_start_matches('/');
        let anywhere = if plain.contains('/') { plain.to_owned() } else { format!("**/{plain}") };
        let build = |glob: &str| -> Result<Glob, globset::Error> {
            GlobBuilder::new(glob).literal_separator(true).build()
        };
        let glob = build(&anywhere).map_err(|error| {
            format!("`glob` is not a pattern for names: {}: `{}`", error.kind(), excerpt(text))
        })?;
        Ok(Names(glob.compile_matcher()))
    }
}

impl Search {
    pub(crate) fn new(config: &Config) -> Search {
        let spec = ToolSpec {
            name: "search".to_owned(),
            description: "Search the workspace: with pattern, lines of files that match; with \
                glob alone, names of files. Leaves out what .gitignore excludes."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "pattern": { "type": "string", "description": "Regex, line by line" },
                    "glob": { "type": "string", "description": "src/**/*.{ts,tsx}" },
                    "path": { "type": "string" },
                    "context": { "type": "integer", "description": "Lines around a match" },
                    "maxResults": { "type": "integer" },
                    "includeIgnored": { "type": "boolean" },
                },
            }),
        };
        Search { spec, bytes_max: config.read_bytes_max, timeout: config.search_timeout }
    }

    fn request(&self, context: &ToolContext, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, HIDDEN, REFUSED, arguments)?;
        let pattern = pattern(&arguments)?;
        let glob = arguments.word("glob", GLOB_BYTES_MAX)?.map(Names::new).transpose()?;
        if pattern.is_none() && glob.is_none() {
            return Err("give `pattern` (what stands in the files), `glob` (how the files are \
                        called), or both"
                .to_owned());
        }
        let results = arguments.integer("maxResults", 1..=RESULTS_MAX)?.unwrap_or(RESULTS);
        let written = arguments.word("path", usize::MAX)?.unwrap_or(".").to_owned();
        let workspace = Workspace::open(&context.workspace).map_err(|error| error.to_string())?;
        let target = workspace.resolve(&written).map_err(|error| error.to_string())?;
        let lines = arguments.integer("context", 0..=CONTEXT_LINES_MAX)?.unwrap_or(0);
        Ok(Request {
            workspace,
            target,
            written,
            pattern,
            glob,
            context: lines as usize,
            bounds: Bounds {
                results_max: results as usize,
                bytes_max: self.bytes_max,
                deadline: Instant::now() + self.timeout,
                timeout: self.timeout,
                cancel: context.cancel.clone(),
            },
            include_ignored: arguments.flag("includeIgnored")?.unwrap_or(false),
        })
    }
}

/// Reads the pattern, and how it is meant.
fn pattern(arguments: &Arguments) -> Result<Option<RegexMatcher>, String> {
    let literal = arguments.flag("literal")?.unwrap_or(false);
    let ignore_case = arguments.flag("ignoreCase")?.unwrap_or(false);
    let Some(text) = arguments.text("pattern")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = if text.len() > PATTERN_BYTES_MAX {
        arguments.message("pattern", PATTERN_BYTES_MAX)?
    } else {
        text
    };
    let built = RegexMatcherBuilder::new()
        .fixed_strings(literal)
        .case_insensitive(ignore_case)
        .line_terminator(Some(b'\n'))
        .build_many(&[text]);
    built.map(Some).map_err(|error| {
        format!(
            "`pattern` cannot be searched for: {error}. It is matched line by line; to find the \
             text itself set `literal` to true"
        )
    })
}

#[async_trait]
impl Tool for Search {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        match self.request(context, arguments) {
            Ok(request) => blocking(move || walk::search(&request)).await.into(),
            Err(error) => ToolOutput::error(error),
        }
    }
}

#[cfg(test)]
mod tests;
