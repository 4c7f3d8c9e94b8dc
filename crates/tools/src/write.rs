//! `write`: a whole file at once.

use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::json;
use types::{EffectClass, ToolSpec};

use crate::arguments::{Arguments, Refused};
use crate::workspace::Workspace;
use crate::{Config, Probe, Tool, ToolContext, ToolOutput, blocking, replace};

const REFUSED: &[Refused] = &[
    ("file_path", "use `path`"),
    ("append", "`write` replaces the file; change a part of it with `edit`"),
];

#[derive(Debug)]
pub(crate) struct Write {
    spec: ToolSpec,
    bytes_max: u64,
}

/// A call, checked.
#[derive(Debug)]
struct Request {
    path: PathBuf,
    written: String,
    content: String,
}

impl Request {
    fn answer(&self) -> String {
        format!("wrote {} bytes to `{}`", self.content.len(), self.written)
    }
}

impl Write {
    pub(crate) fn new(config: &Config) -> Write {
        let spec = ToolSpec {
            name: "write".to_owned(),
            description: "Create a text file, with its folders, or replace all of it.".to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "path": { "type": "string" },
                    "content": { "type": "string" },
                },
                "required": ["path", "content"],
            }),
        };
        Write { spec, bytes_max: config.file_bytes_max }
    }

    fn request(&self, context: &ToolContext, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, &[], REFUSED, arguments)?;
        let written = arguments.required("path")?.to_owned();
        let content = arguments.required("content")?.to_owned();
        if written.ends_with('/') {
            return Err(format!("`{written}` names a folder; `write` needs the path of a file"));
        }
        if content.len() as u64 > self.bytes_max {
            let (bytes, max) = (content.len(), self.bytes_max);
            return Err(format!("`content` has {bytes} bytes; at most {max} are allowed"));
        }
        let workspace = Workspace::open(&context.workspace).map_err(|error| error.to_string())?;
        let path = workspace.resolve(&written).map_err(|error| error.to_string())?;
        Ok(Request { path, written, content })
    }
}

#[async_trait]
impl Tool for Write {
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
        blocking(move || {
            let _lock = replace::lock(&request.path);
            replace::check_target(&request.path, &request.written)?;
            replace::replace(&request.path, request.content.as_bytes())
                .map_err(|error| format!("cannot write `{}`: {error}", request.written))?;
            Ok(request.answer())
        })
        .await
        .into()
    }

    /// The file holds the content: done. It may have held it before, which is as good.
    async fn probe(&self, context: &ToolContext, arguments: &str) -> Probe {
        // What is refused now was refused then, before it did anything.
        let Ok(request) = self.request(context, arguments) else { return Probe::NotDone };
        blocking(move || {
            let same_size = |found: fs::Metadata| {
                found.is_file() && found.len() == request.content.len() as u64
            };
            if !request.path.symlink_metadata().is_ok_and(same_size) {
                return Ok(Probe::NotDone);
            }
            Ok(match fs::read(&request.path) {
                Ok(bytes) if bytes == request.content.as_bytes() => {
                    Probe::Done(ToolOutput::ok(request.answer()))
                }
                Ok(_) => Probe::NotDone,
                Err(_) => Probe::Unsure,
            })
        })
        .await
        .unwrap_or(Probe::Unsure)
    }
}
