//! What clients send: frames, calls and slash commands.

use protocol::command;
use protocol::frame::{Request, ServerFrame};
use protocol::method::Call;

/// Longest words of a refusal, in characters: they go into a frame and a log line.
const TOLD_MAX: usize = 20_000;

/// A frame is a call, or is refused in bounded words; a line is a command, or is for the agent.
pub fn frame(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Request::parse(&text) {
        Ok(request) => {
            if let Err(error) = Call::parse(&request.method, &request.params) {
                assert!(error.message.chars().count() < TOLD_MAX, "{}", error.message);
            }
        }
        Err(bad) => assert!(!bad.error.message.is_empty()),
    }
    let _known = ServerFrame::parse(&text);
    if let Some(Err(wrong)) = command::parse(&text) {
        assert!(!wrong.to_string().is_empty());
    }
}
