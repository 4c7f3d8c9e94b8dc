//! A stream out of memory instead of a socket: for tests and for fuzzing.

use types::Wire;

use crate::error::Fault;
use crate::http::{Decode, Reading};
use crate::refusal::{self, Refusal};
use crate::{Delta, ProviderError, Reply, anthropic, google, openai_chat, openai_responses};

/// Largest stream that is read, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// Bytes of the request: what a call has cost is estimated by them, if the stream does not say it.
const REQUEST_BYTES: usize = 400;

/// Answers in the conversation before this one: ids of calls that have none are made of it.
const TURN: usize = 3;

/// What came of a stream.
#[derive(Debug, PartialEq)]
pub struct Replayed {
    pub reply: Result<Reply, ProviderError>,
    /// What was handed on until then.
    pub deltas: Vec<Delta>,
}

/// Reads a stream of `wire` that comes in `chunks`.
pub fn replay(wire: Wire, chunks: &[&[u8]]) -> Replayed {
    let (reply, deltas) = read(wire, chunks);
    let paid = chunks.iter().any(|chunk| !chunk.is_empty());
    Replayed { reply: reply.map_err(|fault| ProviderError::new("replay", fault, paid)), deltas }
}

/// Reads the body of an answer that refuses a call.
pub fn refusal(status: u16, body: &str) -> ProviderError {
    let fault = refusal::fault(Some(status), &Refusal::from_body(body));
    ProviderError::new("replay", fault, false)
}

pub(crate) fn read(wire: Wire, chunks: &[&[u8]]) -> (Result<Reply, Fault>, Vec<Delta>) {
    let asked = "asked";
    match wire {
        Wire::AnthropicMessages => decode(anthropic::stream::Decoder::new(asked), chunks),
        Wire::OpenaiResponses => {
            decode(openai_responses::stream::Decoder::new(asked, REQUEST_BYTES), chunks)
        }
        Wire::GoogleGenerativeAi => {
            decode(google::stream::Decoder::new(asked, TURN, REQUEST_BYTES), chunks)
        }
        Wire::OpenaiCompletions | Wire::Scripted => {
            decode(openai_chat::stream::Decoder::new(asked, TURN, REQUEST_BYTES), chunks)
        }
    }
}

fn decode<D: Decode>(decoder: D, chunks: &[&[u8]]) -> (Result<Reply, Fault>, Vec<Delta>) {
    let mut deltas = Vec::new();
    let mut reading = Reading::new(decoder, BYTES_MAX);
    let fed = chunks.iter().try_for_each(|chunk| reading.feed(chunk, &mut |d| deltas.push(d)));
    (fed.and_then(|()| reading.end()), deltas)
}
