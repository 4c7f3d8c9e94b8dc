//! `memory_search` and `memory_get`: an agent's notes, found by their words and read by line.
//!
//! The notes are files of the workspace: `MEMORY.md`, `USER.md`, and all `*.md` in `memory/`. They
//! are the truth. The index is made from them, brought up to date by each search, and made anew
//! if it is damaged; nothing is lost with it.

mod index;
mod notes;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::json;
use types::{EffectClass, Hash, ToolSpec, word_enum};

use crate::arguments::{Arguments, Refused, excerpt};
use crate::workspace::Workspace;
use crate::{Config, Tool, ToolContext, ToolOutput, blocking};
use index::{Hit, Index};

const REFUSED: &[Refused] = &[
    ("limit", "use `maxResults`"),
    ("count", "use `maxResults`"),
    ("offset", "use `from`, a line number"),
    ("limitLines", "use `lines`"),
];

const QUERY_BYTES_MAX: usize = 4 * 1024;
/// Taken, and not in the schema: a corpus is all there is, and few models know a score.
const HIDDEN: &[&str] = &["minScore", "corpus"];

const RESULTS: u32 = 6;
const RESULTS_MAX: u32 = 50;

word_enum! {
    /// `corpus`
    pub enum Corpus {
        Memory = "memory",
        /// All that there is: the notes.
        All = "all",
    }
}

/// `memory_search`
#[derive(Debug)]
pub(crate) struct Search {
    spec: ToolSpec,
    /// Where indexes are kept; in memory if nowhere.
    folder: Option<PathBuf>,
    /// One search at a time: each may bring the index up to date.
    turn: Arc<Mutex<()>>,
}

impl Search {
    pub(crate) fn new(config: &Config) -> Search {
        let spec = ToolSpec {
            name: "memory_search".to_owned(),
            description: "Search your notes (MEMORY.md, USER.md, memory/*.md) for words. Use it \
                before answering about earlier work, decisions, dates or people."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "query": { "type": "string" },
                    "maxResults": { "type": "integer" },
                },
                "required": ["query"],
            }),
        };
        Search { spec, folder: config.memory_index.clone(), turn: Arc::default() }
    }
}

#[async_trait]
impl Tool for Search {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// The index follows the files, so it counts as nothing that was changed.
    fn effect(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        let read = || -> Result<(String, usize, f64), String> {
            let arguments = Arguments::parse(&self.spec, HIDDEN, REFUSED, arguments)?;
            arguments.choice::<Corpus>("corpus")?;
            let results = arguments.integer("maxResults", 1..=RESULTS_MAX)?.unwrap_or(RESULTS);
            let score = arguments.number("minScore")?.unwrap_or(0.0);
            if !(0.0..=1.0).contains(&score) {
                return Err(format!("`minScore` must be from 0 to 1; got {score}"));
            }
            let query = arguments.message("query", QUERY_BYTES_MAX)?.to_owned();
            Ok((query, results as usize, score))
        };
        let (query, results, score) = match read() {
            Ok(read) => read,
            Err(error) => return ToolOutput::error(error),
        };
        let (folder, root) = (self.folder.clone(), context.workspace.clone());
        let turn = Arc::clone(&self.turn);
        blocking(move || {
            let workspace = Workspace::open(&root).map_err(|error| error.to_string())?;
            // It guards no data: a panic while it was held has broken nothing.
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let found = search(folder, &workspace, &query, results)
                .map_err(|error| format!("the notes cannot be searched: {error}"))?;
            Ok(shown(&query, found, score))
        })
        .await
        .into()
    }
}

/// Searches an index that is up to date. One that is damaged is made anew, once.
fn search(
    folder: Option<PathBuf>,
    workspace: &Workspace,
    query: &str,
    results: usize,
) -> Result<Found, index::IndexError> {
    let notes = notes::list(workspace);
    let path = folder.map(|folder| {
        let name = Hash::of(workspace.root().as_os_str().as_encoded_bytes()).to_string();
        folder.join(format!("{}.sqlite", name.replace(':', "-")))
    });
    let once = || -> Result<Vec<Hit>, index::IndexError> {
        let mut index = Index::open(path.as_deref())?;
        index.follow(workspace, &notes.paths)?;
        index.find(query, results)
    };
    let hits = match (once(), &path) {
        (Err(error), Some(path)) if error.is_damage() => {
            index::remove(path)?;
            once()?
        }
        (hits, _) => hits?,
    };
    Ok(Found { hits, files: notes.paths.len(), left_out: notes.left_out })
}

/// What a search has found, and in how much.
#[derive(Debug)]
struct Found {
    hits: Vec<Hit>,
    files: usize,
    /// Files that are too large, or too many.
    left_out: usize,
}

fn shown(query: &str, found: Found, score_min: f64) -> String {
    let mut text = String::new();
    let hits: Vec<&Hit> = found.hits.iter().filter(|hit| hit.score >= score_min).collect();
    for Hit { path, from, to, score, text: note } in &hits {
        text.push_str(&format!("{path}:{from}-{to} (score {score:.2})\n{}\n\n", note.trim_end()));
    }
    let last = match (hits.len(), found.files) {
        (_, 0) => "there are no notes yet: write them to MEMORY.md or memory/*.md".to_owned(),
        (0, files) => format!("nothing in {files} notes has a word of `{}`", excerpt(query)),
        (count, files) => format!("{count} found in {files} notes; read on with memory_get"),
    };
    text.push_str(&format!("[{last}"));
    if found.left_out > 0 {
        text.push_str(&format!("; {} files were too large or too many", found.left_out));
    }
    text + "]"
}

/// `memory_get`
#[derive(Debug)]
pub(crate) struct Get {
    spec: ToolSpec,
    lines_max: usize,
    bytes_max: usize,
}

impl Get {
    pub(crate) fn new(config: &Config) -> Get {
        let spec = ToolSpec {
            name: "memory_get".to_owned(),
            description: "Read a note, or lines of it.".to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "path": { "type": "string", "description": "memory/lakes.md" },
                    "from": { "type": "integer", "description": "Line" },
                    "lines": { "type": "integer" },
                },
                "required": ["path"],
            }),
        };
        Get { spec, lines_max: config.read_lines_max, bytes_max: config.read_bytes_max }
    }

    fn read(&self, context: &ToolContext, arguments: &str) -> Result<String, String> {
        let arguments = Arguments::parse(&self.spec, &["corpus"], REFUSED, arguments)?;
        arguments.choice::<Corpus>("corpus")?;
        let written = arguments.required("path")?;
        let from = arguments.integer("from", 1..=u32::MAX)?.unwrap_or(1) as usize;
        let lines = arguments.integer("lines", 1..=u32::MAX)?.map_or(usize::MAX, |n| n as usize);
        let workspace = Workspace::open(&context.workspace).map_err(|error| error.to_string())?;
        let text = notes::read(&workspace, written)?;
        let count = text.lines().count();
        if from > count.max(1) {
            return Err(format!("`from` {from} is past the end: `{written}` has {count} lines"));
        }
        let wanted = lines.min(self.lines_max);
        let mut shown = String::new();
        let mut last = from - 1;
        for line in text.lines().skip(from - 1).take(wanted) {
            if !shown.is_empty() && shown.len() + line.len() > self.bytes_max {
                break;
            }
            shown.push_str(line);
            shown.push('\n');
            last += 1;
        }
        if last < count {
            let next = last + 1;
            shown.push_str(&format!("[lines {from} to {last} of {count}; go on with from {next}]"));
        }
        Ok(if count == 0 { "[the note is empty]".to_owned() } else { shown })
    }
}

#[async_trait]
impl Tool for Get {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        // A note is small: no thread is worth it.
        self.read(context, arguments).into()
    }
}

#[cfg(test)]
mod tests;
