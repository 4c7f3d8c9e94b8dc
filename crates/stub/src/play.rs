//! How an answer leaves: frame by frame, at a pace, to an end that may be chosen to be bad.
//!
//! What is sent is planned whole before the first byte, and then played; so all decisions are in
//! [`Score::new`], and playing is a straight line.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::sync::watch;

use crate::fault::{Ending, Pace};
use crate::journal::{Open, Outcome};
use crate::wire::{Refusal, Wire};

/// The text of a frame of filler.
pub const FILLER: &str = "filler filler filler filler filler filler filler filler filler filler \
                          filler filler filler filler filler filler filler filler filler fill ";

/// One piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub bytes: Bytes,
    /// Tokens of the answer in it.
    pub tokens: u64,
    /// Sent so often.
    pub times: u64,
}

impl Frame {
    pub fn new(text: String, tokens: u64) -> Frame {
        Frame { bytes: text.into(), tokens, times: 1 }
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As it should.
    Clean,
    /// Never.
    Hang,
    /// The connection is closed in the middle.
    Break,
}

/// A planned body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    frames: Vec<Frame>,
    ms_per_token: u64,
    end: End,
}

impl Score {
    /// Plans to play `frames` at `pace`. A fault that waits for more tokens than there are
    /// strikes before the last frame, so that it strikes at all.
    pub fn new(wire: Wire, mut frames: Vec<Frame>, pace: &Pace) -> Score {
        let mut end = End::Clean;
        match &pace.ending {
            Ending::Whole | Ending::Error(_) | Ending::Flood { .. } => {}
            Ending::Stall { after_tokens } => {
                frames.truncate(strikes_at(&frames, *after_tokens));
                end = End::Hang;
            }
            Ending::Cut { after_tokens } => {
                frames.truncate(strikes_at(&frames, *after_tokens) + 1);
                if let Some(last) = frames.last_mut() {
                    last.bytes.truncate(last.bytes.len() / 2);
                    last.times = 1;
                }
                end = End::Break;
            }
            Ending::ErrorEvent { after_tokens, failure } => {
                frames.truncate(strikes_at(&frames, *after_tokens));
                frames.push(wire.error_frame(&Refusal::from(failure.clone())));
            }
            Ending::Garbage { after_tokens } => {
                let garbage = Frame::new("data: {\"type\": no json\n\n".to_owned(), 0);
                frames.insert(strikes_at(&frames, *after_tokens), garbage);
            }
        }
        Score { frames, ms_per_token: pace.ms_per_token, end }
    }

    /// Plays the score as a response body. `open` hears how it ended; a body that is dropped
    /// before was left by its client.
    pub fn play(self, open: Open, stop: watch::Receiver<bool>) -> Body {
        let player = Player { score: self, at: 0, played: 0, open, stop };
        Body::from_stream(stream::unfold(Some(player), |player| async move {
            let mut player = player?;
            match player.next().await {
                Step::Frame(bytes) => Some((Ok(bytes), Some(player))),
                Step::End(outcome) => {
                    player.open.end(outcome);
                    let broken = io::Error::other("the stub cut this answer on purpose");
                    (outcome != Outcome::Completed).then_some((Err(broken), None))
                }
            }
        }))
    }
}

/// Returns the frame before which a fault strikes that waits for `after_tokens`.
fn strikes_at(frames: &[Frame], after_tokens: u64) -> usize {
    let mut tokens = 0;
    let reached = frames.iter().position(|frame| {
        let before = tokens;
        tokens += frame.tokens * frame.times;
        before >= after_tokens && after_tokens > 0
    });
    match after_tokens {
        0 => 0,
        _ => reached.unwrap_or(frames.len().saturating_sub(1)),
    }
}

struct Player {
    score: Score,
    at: usize,
    /// How often the frame at `at` has been sent.
    played: u64,
    open: Open,
    stop: watch::Receiver<bool>,
}

enum Step {
    Frame(Bytes),
    End(Outcome),
}

impl Player {
    async fn next(&mut self) -> Step {
        let Some(frame) = self.score.frames.get(self.at).cloned() else {
            return Step::End(match self.score.end {
                End::Clean => Outcome::Completed,
                End::Break => {
                    // The server drops what it has not flushed when a body fails, and flushes
                    // when a body has nothing to give: so what was sent arrives.
                    tokio::task::yield_now().await;
                    Outcome::Cut
                }
                End::Hang => {
                    stopped(&mut self.stop).await;
                    Outcome::Cut
                }
            });
        };
        self.played += 1;
        if self.played >= frame.times {
            (self.at, self.played) = (self.at + 1, 0);
        }
        let wait = Duration::from_millis(self.score.ms_per_token.saturating_mul(frame.tokens));
        if !wait.is_zero() && !rest(wait, &mut self.stop).await {
            return Step::End(Outcome::Cut);
        }
        Step::Frame(frame.bytes)
    }
}

/// Waits for `wait`; says false if the stub stopped before.
pub async fn rest(wait: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        _ = stopped(stop) => false,
    }
}

/// Returns when the stub stops.
async fn stopped(stop: &mut watch::Receiver<bool>) -> Option<Infallible> {
    // An error means that the stub is gone altogether, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Failure;

    fn frames() -> Vec<Frame> {
        [("head", 0), ("aaaa", 4), ("bbbb", 4), ("tail", 0)]
            .map(|(text, tokens)| Frame::new(text.to_owned(), tokens))
            .to_vec()
    }

    fn played(ending: Ending) -> (String, End) {
        let pace = Pace { ending, ..Pace::default() };
        let score = Score::new(Wire::Anthropic, frames(), &pace);
        let text = score.frames.iter().map(|f| String::from_utf8_lossy(&f.bytes).into_owned());
        (text.collect::<Vec<_>>().join(" "), score.end)
    }

    #[test]
    fn an_ending_strikes_after_its_tokens() {
        use Ending::*;
        let failure = Failure::status(529);
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":\
                     {\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        for (ending, text, end) in [
            (Whole, "head aaaa bbbb tail".to_owned(), End::Clean),
            (Stall { after_tokens: 0 }, String::new(), End::Hang),
            (Stall { after_tokens: 1 }, "head aaaa".to_owned(), End::Hang),
            (Stall { after_tokens: 99 }, "head aaaa bbbb".to_owned(), End::Hang),
            (Cut { after_tokens: 0 }, "he".to_owned(), End::Break),
            (Cut { after_tokens: 4 }, "head aaaa bb".to_owned(), End::Break),
            (Cut { after_tokens: 99 }, "head aaaa bbbb ta".to_owned(), End::Break),
            (
                ErrorEvent { after_tokens: 5, failure },
                format!("head aaaa bbbb {error}"),
                End::Clean,
            ),
        ] {
            assert_eq!(played(ending.clone()), (text, end), "{ending:?}");
        }
        let (text, end) = played(Garbage { after_tokens: 1 });
        assert_eq!(text, "head aaaa data: {\"type\": no json\n\n bbbb tail");
        assert_eq!(end, End::Clean);
    }
}
