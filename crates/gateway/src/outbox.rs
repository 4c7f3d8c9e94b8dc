//! What waits to be sent to one client. Nobody ever waits for a client that does not read: its
//! queue is bounded. When it is full, events give way, and the client is told which; when even
//! answers do not fit, the connection is closed.
//!
//! ```text
//!  answers ─┐
//!           ├─▶ Outbox ─▶ Queue: 1,024 frames, 50 MiB ─▶ Writer ─▶ socket
//!  events  ─┘             (numbers the events)
//! ```

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use futures::{Sink, SinkExt};
use protocol::{Event, EventFrame, Response};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

mod queue;

use queue::{Full, Outgoing, Queue};

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

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something waits.
    ready: Notify,
    why: OnceLock<Close>,
    closing: CancellationToken,
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent between any two of its calls, so a poisoned lock is usable.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The near end of a connection. Cloned freely.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Shared>);

/// The far end.
#[derive(Debug)]
pub struct Writer(Arc<Shared>);

pub fn channel() -> (Outbox, Writer) {
    let shared = Arc::new(Shared::default());
    (Outbox(Arc::clone(&shared)), Writer(shared))
}

impl Outbox {
    pub fn respond(&self, response: &Response) {
        self.text(response);
    }

    /// Sends an event that has a number. A draft is the first to give way.
    pub fn event(&self, name: &'static str, payload: Arc<RawValue>, draft: bool) {
        self.push(|queue| queue.event(name, payload, draft));
    }

    /// So many events were lost before they could be sent to anybody.
    pub fn skip(&self, missed: u64) {
        self.push(|queue| queue.skip(missed));
    }

    /// Sends an event that comes before numbers do.
    pub fn opening(&self, frame: &EventFrame) {
        self.text(frame);
    }

    pub fn ping(&self) {
        self.push(|queue| queue.push(Outgoing::Ping));
    }

    fn text(&self, frame: &impl serde::Serialize) {
        let text = serde_json::to_string(frame).expect("a frame is JSON");
        self.push(|queue| queue.push(Outgoing::Text(text)));
    }

    fn push(&self, put: impl FnOnce(&mut Queue) -> Result<(), Full>) {
        if self.0.closing.is_cancelled() {
            return;
        }
        let put = put(&mut self.0.locked());
        match put {
            Ok(()) => self.0.ready.notify_one(),
            Err(Full) => self.close(Close::SLOW),
        }
    }

    /// Closes the connection after what waits has been sent. The first reason counts.
    pub fn close(&self, why: Close) {
        let _ = self.0.why.set(why);
        self.0.closing.cancel();
    }

    /// Waits until somebody closes the connection.
    pub async fn closing(&self) {
        self.0.closing.cancelled().await;
    }

    /// Why the connection is closed, if it is.
    pub fn why(&self) -> Option<&Close> {
        self.0.why.get()
    }
}

impl Writer {
    /// Sends until the connection is closed, and then for a while.
    pub async fn run(self, mut socket: impl Sink<Message> + Unpin) {
        let shared = Arc::clone(&self.0);
        let too_long = async {
            shared.closing.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            sent = self.send_all(&mut socket) => {
                if sent.is_err() {
                    let _ = self.0.why.set(Close::GONE);
                    self.0.closing.cancel();
                }
            }
            () = too_long => {}
        }
    }

    async fn send_all<S: Sink<Message> + Unpin>(&self, socket: &mut S) -> Result<(), S::Error> {
        while !self.0.closing.is_cancelled() {
            let next = self.0.locked().pop();
            match next {
                Some(next) => socket.send(message(next)).await?,
                None => tokio::select! {
                    () = self.0.ready.notified() => {}
                    () = self.0.closing.cancelled() => {}
                },
            }
        }
        let why = self.0.why.get().cloned().unwrap_or(Close::GONE);
        // Whoever could not keep up is not made to read what he has missed.
        if why != Close::SLOW {
            loop {
                let Some(next) = self.0.locked().pop() else { break };
                socket.send(message(next)).await?;
            }
        }
        socket.send(why.frame()).await
    }
}

fn message(next: Outgoing) -> Message {
    let frame = match next {
        Outgoing::Text(text) => return Message::Text(text.into()),
        Outgoing::Ping => return Message::Ping(axum::body::Bytes::new()),
        Outgoing::Event { name, payload, seq, .. } => {
            let (event, seq) = (name.to_owned(), Some(seq));
            EventFrame { event, payload: Some(payload), seq, state_version: None }
        }
        // It stands for others, and has no number of its own.
        Outgoing::Gap(gap) => Event::Gap(gap).frame(None),
    };
    Message::Text(serde_json::to_string(&frame).expect("a frame is JSON").into())
}

#[cfg(test)]
mod tests {
    use protocol::event::Tick;
    use types::Timestamp;

    use super::queue::{BYTES_MAX, FRAMES_MAX};
    use super::*;

    fn tick(outbox: &Outbox) {
        outbox.event("tick", Event::Tick(Tick { ts: Timestamp(1) }).encode(), false);
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

    fn answer(outbox: &Outbox) {
        outbox.respond(&Response::ok("1", &serde_json::json!({})));
    }

    #[tokio::test]
    async fn a_queue_that_answers_fill_closes_and_is_not_sent() {
        let (outbox, writer) = channel();
        for _ in 0..=FRAMES_MAX {
            answer(&outbox);
        }
        assert_eq!(outbox.why(), Some(&Close::SLOW));
        let messages = written(writer).await;
        assert!(matches!(&messages[..], [Message::Close(Some(frame))] if frame.code == 1008));
    }

    #[tokio::test]
    async fn one_who_reads_too_slowly_is_told_what_is_missing() {
        let (outbox, writer) = channel();
        for _ in 0..2 * FRAMES_MAX {
            tick(&outbox);
        }
        outbox.close(Close::RESTART);
        let messages = written(writer).await;
        let Message::Text(first) = &messages[0] else { panic!("{:?}", messages[0]) };
        let first: EventFrame = serde_json::from_str(first).unwrap();
        let Ok(Some(Event::Gap(gap))) = Event::parse(&first) else { panic!("{first:?}") };
        assert_eq!((gap.from, first.seq), (1, None));
        let Message::Text(next) = &messages[1] else { panic!("{:?}", messages[1]) };
        let next: EventFrame = serde_json::from_str(next).unwrap();
        assert_eq!(next.seq, Some(gap.to + 1));
        assert!(messages.len() <= FRAMES_MAX + 2);
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
                answer(&outbox);
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
