//! `progressCard.get`: the plan that an agent shows of its work.

use types::AgentId;

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;

/// What comes back is [`ProgressCardChanged`](crate::notice::ProgressCardChanged), as its event has
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetParams {
    pub session: SessionRef,
    /// Of a short key; the default agent if none.
    pub agent: Option<AgentId>,
}

impl Params for GetParams {
    fn read(fields: &Fields<'_>) -> Result<GetParams, InvalidField> {
        let session = fields.required_session("sessionKey")?;
        Ok(GetParams { session, agent: fields.agent("agentId")? })
    }
}
