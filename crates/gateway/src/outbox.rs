//! What waits to be sent to one client. Nobody ever waits for a client that does not read: its
//! queue is bounded, and when it is full the connection is closed.
//!
//! ```text
//!  answers ─┐
//!           ├─▶ Outbox ─▶ 1,024 frames, 50 MiB ─▶ Writer (numbers the events) ─▶ socket
//!  events  ─┘     │
//!                 └─ full: closed with 1008 "slow consumer"
//! ```

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use futures::{Sink, SinkExt};
use protocol::{EventFrame, Response};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Frames that may wait: half a minute of a busy run's deltas.
const FRAMES_MAX: usize = 1_024;

/// Bytes that may wait: `policy.maxBufferedBytes`, which clients are told.
const BYTES_MAX: usize = 52_428_800;

/// How long a connection that is being closed has for its last frames.
const GRACE: Duration = Duration::from_secs(5);

/// Longest reason of a close frame, in bytes: the protocol of WebSockets has room for 123.
const REASON_BYTES_MAX: usize = 120;

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

impl Close {
    /// The client has left by itself.
    pub const GONE: Close = Close { code: 1000, reason: Cow::Borrowed("") };
    pub const SLOW: Close = Close { code: 1008, reason: Cow::Borrowed("slow consumer") };
    /// Events were lost on our side: a client that comes again reads what it has missed.
    pub const MISSED: Close = Close { code: 1013, reason: Cow::Borrowed("events were missed") };
    pub const RESTART: Close = Close { code: 1012, reason: Cow::Borrowed("service restart") };

    /// The client broke a rule.
    pub fn policy(reason: impl Into<Cow<'static, str>>) -> Close {
        Close { code: 1008, reason: reason.into() }
    }

    pub fn too_large(limit: usize) -> Close {
        Close { code: 1009, reason: format!("the frame has more than {limit} bytes").into() }
    }

    fn frame(&self) -> Message {
        let mut reason = self.reason.to_string();
        let end = (0..=REASON_BYTES_MAX.min(reason.len())).rfind(|&i| reason.is_char_boundary(i));
        reason.truncate(end.unwrap_or(0));
        Message::Close(Some(CloseFrame { code: self.code, reason: reason.into() }))
    }
}

/// Something to send.
#[derive(Clone, Debug)]
enum Outgoing {
    /// A whole frame.
    Text(String),
    /// An event, encoded once for all who get it; its number is the connection's own.
    Event {
        name: &'static str,
        payload: Arc<RawValue>,
    },
    Ping,
}

impl Outgoing {
    /// Bytes on the wire, near enough.
    fn bytes(&self) -> usize {
        const FRAME: usize = 64;
        match self {
            Outgoing::Text(text) => text.len(),
            Outgoing::Event { payload, .. } => payload.get().len() + FRAME,
            Outgoing::Ping => FRAME,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    why: OnceLock<Close>,
    closing: CancellationToken,
}

/// The near end of a connection. Cloned freely.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
}

/// The far end.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
}

pub fn channel() -> (Outbox, Writer) {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let shared = Arc::new(Shared::default());
    (Outbox { queue: sender, shared: Arc::clone(&shared) }, Writer { queue: receiver, shared })
}

impl Outbox {
    pub fn respond(&self, response: &Response) {
        self.text(response);
    }

    /// Sends an event that has a number.
    pub fn event(&self, name: &'static str, payload: Arc<RawValue>) {
        self.push(Outgoing::Event { name, payload });
    }

    /// Sends an event that comes before numbers do.
    pub fn opening(&self, frame: &EventFrame) {
        self.text(frame);
    }

    pub fn ping(&self) {
        self.push(Outgoing::Ping);
    }

    fn text(&self, frame: &impl serde::Serialize) {
        self.push(Outgoing::Text(serde_json::to_string(frame).expect("a frame is JSON")));
    }

    fn push(&self, outgoing: Outgoing) {
        if self.shared.closing.is_cancelled() {
            return;
        }
        let bytes = outgoing.bytes();
        let waiting = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // One frame may be larger than what may pile up; then it is the only one.
        let too_much = waiting > BYTES_MAX && waiting > bytes;
        if too_much || self.queue.try_send(outgoing).is_err() {
            self.close(Close::SLOW);
        }
    }

    /// Closes the connection after what waits has been sent. The first reason counts.
    pub fn close(&self, why: Close) {
        let _ = self.shared.why.set(why);
        self.shared.closing.cancel();
    }

    /// Waits until somebody closes the connection.
    pub async fn closing(&self) {
        self.shared.closing.cancelled().await;
    }

    /// Why the connection is closed, if it is.
    pub fn why(&self) -> Option<&Close> {
        self.shared.why.get()
    }
}

impl Writer {
    /// Sends until the connection is closed, and then for a while.
    pub async fn run(mut self, mut socket: impl Sink<Message> + Unpin) {
        let shared = Arc::clone(&self.shared);
        let too_long = async {
            shared.closing.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            sent = self.send_all(&mut socket) => {
                if sent.is_err() {
                    let _ = self.shared.why.set(Close::GONE);
                    self.shared.closing.cancel();
                }
            }
            () = too_long => {}
        }
    }

    async fn send_all<S: Sink<Message> + Unpin>(&mut self, socket: &mut S) -> Result<(), S::Error> {
        let mut seq = 0;
        loop {
            let next = tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => break,
                next = self.queue.recv() => next,
            };
            let Some(next) = next else { break };
            self.send(socket, next, &mut seq).await?;
        }
        let why = self.shared.why.get().cloned().unwrap_or(Close::GONE);
        // Whoever could not keep up is not made to read what he has missed.
        if why != Close::SLOW {
            while let Ok(next) = self.queue.try_recv() {
                self.send(socket, next, &mut seq).await?;
            }
        }
        socket.send(why.frame()).await
    }

    async fn send<S: Sink<Message> + Unpin>(
        &self,
        socket: &mut S,
        next: Outgoing,
        seq: &mut u64,
    ) -> Result<(), S::Error> {
        let bytes = next.bytes();
        let message = match next {
            Outgoing::Text(text) => Message::Text(text.into()),
            Outgoing::Event { name, payload } => {
                *seq += 1;
                let (event, seq) = (name.to_owned(), Some(*seq));
                let frame = EventFrame { event, payload: Some(payload), seq, state_version: None };
                let text = serde_json::to_string(&frame).expect("a frame is JSON");
                Message::Text(text.into())
            }
            Outgoing::Ping => Message::Ping(axum::body::Bytes::new()),
        };
        let sent = socket.send(message).await;
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        sent
    }
}

#[cfg(test)]
mod tests {
    use protocol::event::Tick;
    use types::Timestamp;

    use super::*;

    fn tick(outbox: &Outbox) {
        outbox.event("tick", protocol::Event::Tick(Tick { ts: Timestamp(1) }).encode());
    }

    /// Runs a writer into memory and returns what came out.
    async fn written(writer: Writer) -> Vec<Message> {
        let (sink, seen) = futures::channel::mpsc::channel(4 * FRAMES_MAX);
        writer.run(sink).await;
        futures::StreamExt::collect(seen).await
    }

    #[tokio::test]
    async fn events_are_numbered_as_they_are_sent_and_a_close_comes_last() {
        let (outbox, writer) = channel();
        tick(&outbox);
        outbox.respond(&Response::ok("1", &serde_json::json!({})));
        tick(&outbox);
        outbox.close(Close::policy("enough"));
        outbox.close(Close::RESTART);
        tick(&outbox);
        let lines: Vec<String> = written(writer).await.iter().map(|m| format!("{m:?}")).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].contains(r#"\"seq\":1"#) && lines[2].contains(r#"\"seq\":2"#));
        assert!(lines[3].contains("1008") && lines[3].contains("enough"), "{}", lines[3]);
    }

    #[tokio::test]
    async fn a_full_queue_closes_and_is_not_sent() {
        let (outbox, writer) = channel();
        for _ in 0..=FRAMES_MAX {
            tick(&outbox);
        }
        assert_eq!(outbox.why(), Some(&Close::SLOW));
        let messages = written(writer).await;
        assert!(matches!(&messages[..], [Message::Close(Some(frame))] if frame.code == 1008));
    }

    /// Whoever reads on after a while gets the frame that was under way, and the reason at once;
    /// whoever does not is not waited for.
    #[tokio::test(start_paused = true)]
    async fn one_who_reads_again_in_time_is_told_why() {
        for (pause, told) in [(GRACE / 2, true), (GRACE * 2, false)] {
            let (outbox, writer) = channel();
            // Takes one frame more than it has room for, as a socket does.
            let (sink, mut seen) = futures::channel::mpsc::channel(0);
            let writing = tokio::spawn(writer.run(sink));
            for _ in 0..FRAMES_MAX + 10 {
                tick(&outbox);
                tokio::task::yield_now().await;
            }
            assert_eq!(outbox.why(), Some(&Close::SLOW));
            tokio::time::sleep(pause).await;
            assert_eq!(writing.is_finished(), !told);
            let mut last = None;
            while let Some(message) = futures::StreamExt::next(&mut seen).await {
                last = Some(message);
            }
            let code = match last {
                Some(Message::Close(Some(frame))) => Some(frame.code),
                _ => None,
            };
            assert_eq!(code, told.then_some(1008), "after {pause:?}");
        }
    }

    #[test]
    fn too_many_bytes_close_and_one_large_frame_does_not() {
        let (outbox, _writer) = channel();
        let large = |bytes| Response::ok("1", &"x".repeat(bytes));
        outbox.respond(&large(BYTES_MAX + 1));
        assert_eq!(outbox.why(), None);
        outbox.respond(&large(1));
        assert_eq!(outbox.why(), Some(&Close::SLOW));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let Message::Close(Some(frame)) = Close::policy("é".repeat(100)).frame() else { panic!() };
        assert_eq!(frame.reason.as_str(), "é".repeat(60));
    }
}
