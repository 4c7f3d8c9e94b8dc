//! What a person or a program asks for in the words of a tool: read as an agent's call is.

use tools::sessions::SessionsCall;
use types::InternalCall;

/// Reads the arguments of `sessions_spawn`. The error says which is wrong, and why.
pub fn spawn(arguments: &str) -> Result<InternalCall, String> {
    match tools::sessions::parse("sessions_spawn", arguments)? {
        SessionsCall::Internal(call) => Ok(call),
        SessionsCall::Read(_) | SessionsCall::Kept(_) => {
            Err("`sessions_spawn` is no question".to_owned())
        }
    }
}
