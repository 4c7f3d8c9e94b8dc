//! `sessions.spawn`: what an agent does with `sessions_spawn`, asked for by a person or a program.

use serde_json::{Map, Value};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;

#[derive(Clone, Debug, PartialEq)]
pub struct SpawnParams {
    /// In whose name: the default agent's main session if none.
    pub requester: Option<SessionRef>,
    /// The arguments of the tool, as an agent would write them.
    pub arguments: Map<String, Value>,
}

/// The one parameter that the tool does not have: an agent is its own requester.
const REQUESTER: &str = "requesterSessionKey";

impl Params for SpawnParams {
    fn read(fields: &Fields<'_>) -> Result<SpawnParams, InvalidField> {
        let requester = fields
            .parsed(REQUESTER, "a session key such as `agent:main:main` or `thread:budget`")?;
        fields.required_text("task")?;
        Ok(SpawnParams { requester, arguments: fields.others(&[REQUESTER]) })
    }
}
