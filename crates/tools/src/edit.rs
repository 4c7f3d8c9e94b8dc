//! `edit`: exact replacements in one file, all of them or none.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Value, json};
use types::{EffectClass, ToolSpec};

use crate::arguments::{Arguments, Refused, wrong};
use crate::matching::{self, Trace};
use crate::workspace::Workspace;
use crate::{Config, Probe, Tool, ToolContext, ToolOutput, blocking, replace};

const REFUSED: &[Refused] = &[
    ("file_path", "use `path`"),
    ("replaceAll", "each oldText must occur exactly once; give one edit for each place"),
    ("replace_all", "each oldText must occur exactly once; give one edit for each place"),
];

/// One edit may also stand at the top level, under the names that other agents' tools use.
const TOP_LEVEL: [(&str, &str); 2] = [("oldText", "newText"), ("old_string", "new_string")];
const HIDDEN: &[&str] = &["oldText", "newText", "old_string", "new_string"];

/// Most edits in one call: each is searched for in the whole file.
const EDITS_MAX: usize = 200;

#[derive(Debug)]
pub(crate) struct Edit {
    spec: ToolSpec,
    bytes_max: u64,
}

/// A call, checked.
#[derive(Debug)]
struct Request {
    path: PathBuf,
    written: String,
    edits: Vec<matching::Edit>,
}

impl Request {
    fn answer(&self) -> String {
        match self.edits.len() {
            1 => format!("made 1 edit in `{}`", self.written),
            count => format!("made {count} edits in `{}`", self.written),
        }
    }
}

impl Edit {
    pub(crate) fn new(config: &Config) -> Edit {
        let spec = ToolSpec {
            name: "edit".to_owned(),
            description: "Change parts of a text file. Each oldText must occur exactly once; \
                all edits are made together or none."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "path": { "type": "string" },
                    "edits": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "oldText": { "type": "string" },
                                "newText": { "type": "string" },
                            },
                            "required": ["oldText", "newText"],
                        },
                    },
                },
                "required": ["path", "edits"],
            }),
        };
        Edit { spec, bytes_max: config.file_bytes_max }
    }

    fn request(&self, context: &ToolContext, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, HIDDEN, REFUSED, arguments)?;
        let written = arguments.required("path")?.to_owned();
        let edits = edits(&arguments)?;
        let workspace = Workspace::open(&context.workspace).map_err(|error| error.to_string())?;
        let path = workspace.resolve(&written).map_err(|error| error.to_string())?;
        Ok(Request { path, written, edits })
    }
}

/// Reads the edits from wherever the model put them.
fn edits(arguments: &Arguments) -> Result<Vec<matching::Edit>, String> {
    let top = TOP_LEVEL.iter().find(|(old, new)| arguments.has(old) || arguments.has(new));
    match (arguments.value("edits"), top) {
        (Some(_), Some((name, _))) => {
            Err(format!("give `edits` or one edit as `{name}`, not both"))
        }
        (None, None) => Err("`edits` is missing".to_owned()),
        (None, Some((old, new))) => {
            Ok(vec![edit(arguments.required(old)?, arguments.required(new)?, old)?])
        }
        (Some(Value::Array(items)), None) if (1..=EDITS_MAX).contains(&items.len()) => {
            items.iter().enumerate().map(|(i, item)| edit_at(i, item)).collect()
        }
        (Some(other), None) => {
            Err(wrong("edits", &format!("an array of 1 to {EDITS_MAX} edits"), other))
        }
    }
}

fn edit_at(i: usize, item: &Value) -> Result<matching::Edit, String> {
    let Some(fields) = item.as_object() else {
        return Err(wrong(&format!("edits[{i}]"), "an object with oldText and newText", item));
    };
    if let Some(name) = fields.keys().find(|name| !["oldText", "newText"].contains(&name.as_str()))
    {
        return Err(format!("`edits[{i}]` has no field `{name}`; it takes `oldText`, `newText`"));
    }
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(wrong(&format!("edits[{i}].{name}"), "a string", other)),
        None => Err(format!("`edits[{i}].{name}` is missing")),
    };
    edit(text("oldText")?, text("newText")?, &format!("edits[{i}].oldText"))
}

fn edit(old: &str, new: &str, name: &str) -> Result<matching::Edit, String> {
    if old.is_empty() {
        return Err(format!("`{name}` is empty; to make a new file use `write`"));
    }
    if old == new {
        return Err(format!("`{name}` and its replacement are the same: nothing to change"));
    }
    Ok(matching::Edit { old: old.to_owned(), new: new.to_owned() })
}

/// Reads a file that may be edited.
pub(crate) fn text_of(path: &Path, written: &str, bytes_max: u64) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read `{written}`: {error}");
    let found = path.metadata().map_err(cannot)?;
    if found.len() > bytes_max {
        let bytes = found.len();
        return Err(format!("`{written}` has {bytes} bytes; at most {bytes_max} can be edited"));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|_| format!("`{written}` is not UTF-8 text"))
}

#[async_trait]
impl Tool for Edit {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> EffectClass {
        EffectClass::Probed
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        let request = match self.request(context, arguments) {
            Ok(request) => request,
            Err(error) => return ToolOutput::error(error),
        };
        let bytes_max = self.bytes_max;
        blocking(move || {
            let _lock = replace::lock(&request.path);
            replace::check_target(&request.path, &request.written)?;
            let text = text_of(&request.path, &request.written, bytes_max)?;
            let written = &request.written;
            let edited = matching::apply(&text, &request.edits)
                .map_err(|mismatch| format!("nothing was changed in `{written}`: {mismatch}"))?;
            replace::replace(&request.path, edited.as_bytes())
                .map_err(|error| format!("cannot write `{written}`: {error}"))?;
            Ok(request.answer())
        })
        .await
        .into()
    }

    async fn probe(&self, context: &ToolContext, arguments: &str) -> Probe {
        // What is refused now was refused then, before it did anything.
        let Ok(request) = self.request(context, arguments) else { return Probe::NotDone };
        let bytes_max = self.bytes_max;
        blocking(move || {
            let text = text_of(&request.path, &request.written, bytes_max)?;
            Ok(match matching::trace(&text, &request.edits) {
                Trace::Made => Probe::Done(ToolOutput::ok(request.answer())),
                Trace::NotMade => Probe::NotDone,
                Trace::Unclear => Probe::Unsure,
            })
        })
        .await
        .unwrap_or(Probe::Unsure)
    }
}
