//! `apply_patch`: changes in several files at once, in the format that OpenAI's models write.
//!
//! ```text
//! text ─▶ operations ─▶ plan: every file read, every hunk placed ─▶ staged ─▶ put in place
//!         errors name a line    errors name file and hunk            nothing is changed so far
//! ```
//!
//! Nothing is changed before everything is checked and written beside its place. Then one rename
//! follows the other; if one fails, those before it are taken back. A crash between two of them
//! leaves each file old or new, and the probe tells a patch that was made from one that was not,
//! and both from one that was made in part.

mod hunk;
mod parse;
mod plan;
mod trace;

use async_trait::async_trait;
use serde_json::json;
use types::{EffectClass, ToolSpec};

use crate::arguments::{Arguments, Refused};
use crate::workspace::Workspace;
use crate::{Config, Probe, Tool, ToolContext, ToolOutput, blocking};
use parse::Operation;

const REFUSED: &[Refused] = &[
    ("patch", "use `input`"),
    ("diff", "use `input`, in the format that begins with *** Begin Patch"),
    ("path", "the files are named in `input`"),
];

#[derive(Debug)]
pub(crate) struct ApplyPatch {
    spec: ToolSpec,
    bytes_max: u64,
}

/// A call, read.
#[derive(Debug)]
struct Request {
    workspace: Workspace,
    operations: Vec<Operation>,
    bytes_max: u64,
}

impl Request {
    fn answer(&self) -> String {
        let lines = self.operations.iter().map(|operation| match operation {
            Operation::Add { path, .. } => format!("\nA {path}"),
            Operation::Delete { path } => format!("\nD {path}"),
            Operation::Update { path, move_to: Some(to), .. } => format!("\nR {path} -> {to}"),
            Operation::Update { path, .. } => format!("\nM {path}"),
        });
        format!("applied the patch:{}", lines.collect::<String>())
    }
}

impl ApplyPatch {
    pub(crate) fn new(config: &Config) -> ApplyPatch {
        let spec = ToolSpec {
            name: "apply_patch".to_owned(),
            description: "Change several text files with one patch, all or nothing:\n\
                *** Begin Patch\n\
                *** Add File: new.txt\n\
                +line\n\
                *** Update File: old.rs\n\
                *** Move to: new.rs\n\
                @@ fn around() {\n \
                line that stays\n\
                -line that goes\n\
                +line that comes\n\
                *** Delete File: gone.txt\n\
                *** End Patch\n\
                Give three lines of context around a change."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": { "input": { "type": "string" } },
                "required": ["input"],
            }),
        };
        ApplyPatch { spec, bytes_max: config.file_bytes_max }
    }

    fn request(&self, context: &ToolContext, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, &[], REFUSED, arguments)?;
        let bytes_max = usize::try_from(self.bytes_max).unwrap_or(usize::MAX);
        let operations = parse::parse(arguments.message("input", bytes_max)?)?;
        let workspace = Workspace::open(&context.workspace).map_err(|error| error.to_string())?;
        Ok(Request { workspace, operations, bytes_max: self.bytes_max })
    }
}

#[async_trait]
impl Tool for ApplyPatch {
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
        if context.cancel.is_cancelled() {
            return ToolOutput::error("the run was stopped: nothing was changed");
        }
        blocking(move || plan::apply(&request).map(|()| request.answer())).await.into()
    }

    async fn probe(&self, context: &ToolContext, arguments: &str) -> Probe {
        // What is refused now was refused then, before it did anything.
        let Ok(request) = self.request(context, arguments) else { return Probe::NotDone };
        blocking(move || {
            Ok(match trace::trace(&request) {
                trace::Trace::Made => Probe::Done(ToolOutput::ok(request.answer())),
                trace::Trace::NotMade => Probe::NotDone,
                trace::Trace::Unclear => Probe::Unsure,
            })
        })
        .await
        .unwrap_or(Probe::Unsure)
    }
}

#[cfg(test)]
mod tests;
