//! An answer as server-sent events, while it is written.
//!
//! What is shown live is a draft; the end is read from the store, and what the client has not seen
//! of the answer is sent then. See [`super::draft`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use machine::Notice;
use runtime::LiveEvent;
use runtime::live::Delta;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use types::{Reasoning, RunId, Timestamp};

use super::Failure;
use super::completions::{Answer, Asked, ended, head, settled, usage};
use super::draft::Draft;
use crate::ending::{self, Sight};
use crate::gateway::Gateway;
use crate::server::Door;

/// Events that wait for a client that reads slowly. More are not made until it reads: what it has
/// missed of the drafts by then comes with the end.
const BACKLOG: usize = 64;

/// How often a client is told that the run goes on: proxies close what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Live = broadcast::Receiver<Arc<LiveEvent>>;

/// Begins the answer. The message is durable already.
pub fn respond(door: &Door, asked: Asked, live: Live, slot: OwnedSemaphorePermit) -> Response {
    let (sender, receiver) = mpsc::channel::<Event>(BACKLOG);
    let gateway = Arc::clone(&door.gateway);
    let at = gateway.now();
    let (draft, ours) = (Draft::default(), BTreeMap::new());
    let teller = Teller { gateway, asked, at, sender, draft, thoughts: false, ours };
    door.tasks.spawn(async move {
        teller.tell(live).await;
        drop(slot);
    });
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The client has gone away: the run goes on without it.
struct Gone;

struct Teller {
    gateway: Arc<Gateway>,
    asked: Asked,
    at: Timestamp,
    sender: mpsc::Sender<Event>,
    draft: Draft,
    /// Has a person asked for this session's thoughts to be shown?
    thoughts: bool,
    /// Is this the run that has taken the message in? Asked once for each model call.
    ours: BTreeMap<(RunId, u32), bool>,
}

impl Teller {
    async fn tell(mut self, live: Live) {
        let gateway = Arc::clone(&self.gateway);
        let subject = self.asked.subject.clone();
        let told = async {
            let session = gateway.handle.store().session(&self.asked.session).await;
            let session = session.ok().flatten();
            self.thoughts = session.is_some_and(|session| session.reasoning != Reasoning::Off);
            self.delta(json!({ "role": "assistant", "content": "" })).await?;
            let end = self.drafts(live, settled(&gateway, &subject)).await?;
            match end.and_then(ended) {
                Ok(answer) => self.end(answer).await,
                Err(failure) => self.send(failure.body()).await,
            }
        };
        // A client that is gone is told nothing more.
        let _: Result<(), Gone> = told.await;
    }

    /// Shows drafts until the run is over.
    async fn drafts(
        &mut self,
        mut live: Live,
        settled: impl Future<Output = Result<Sight, Failure>>,
    ) -> Result<Result<Sight, Failure>, Gone> {
        tokio::pin!(settled);
        let sender = self.sender.clone();
        let mut listens = true;
        loop {
            tokio::select! {
                end = &mut settled => return Ok(end),
                () = sender.closed() => return Err(Gone),
                event = live.recv(), if listens => match event {
                    Ok(event) => self.on_live(&event).await?,
                    Err(RecvError::Lagged(_)) => self.draft.dropped(),
                    Err(RecvError::Closed) => listens = false,
                },
            }
        }
    }

    async fn on_live(&mut self, event: &LiveEvent) -> Result<(), Gone> {
        match event {
            LiveEvent::Delta { run, session, step, delta: Delta::Text(text), .. }
                if *session == self.asked.session && self.is_ours(*run, *step).await =>
            {
                match self.draft.piece(*step, text) {
                    Some(shown) => self.delta(json!({ "content": shown })).await,
                    None => Ok(()),
                }
            }
            // As the field's servers call it: there is no word of the standard for it.
            LiveEvent::Delta { run, session, step, delta: Delta::Thinking(text), .. }
                if self.thoughts
                    && *session == self.asked.session
                    && self.is_ours(*run, *step).await =>
            {
                self.delta(json!({ "reasoning_content": text })).await
            }
            LiveEvent::Notice(Notice::ModelCallFailed { session, .. })
            | LiveEvent::Notice(Notice::Recovered { session, .. })
                if *session == self.asked.session =>
            {
                self.draft.dropped();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A message may enter a run that is open already: what that has said before is no answer.
    async fn is_ours(&mut self, run: RunId, step: u32) -> bool {
        if let Some(known) = self.ours.get(&(run, step)) {
            return *known;
        }
        let sight = ending::look(&self.gateway, &self.asked.subject).await;
        let ours = matches!(sight, Ok(Sight::Open(Some(open))) if open.facts.id == run);
        self.ours.insert((run, step), ours);
        ours
    }

    async fn end(&mut self, answer: Answer) -> Result<(), Gone> {
        if let Some(rest) = self.draft.end(&answer.text) {
            self.delta(json!({ "content": rest })).await?;
        }
        let mut last = self.chunk();
        last["choices"] = json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
        self.send(last).await?;
        if self.asked.include_usage {
            let mut sum = self.chunk();
            sum["choices"] = json!([]);
            sum["usage"] = usage(answer.usage);
            self.send(sum).await?;
        }
        self.sender.send(Event::default().data("[DONE]")).await.map_err(|_| Gone)
    }

    fn chunk(&self) -> Value {
        head(&self.asked, "chat.completion.chunk", self.at)
    }

    async fn delta(&mut self, delta: Value) -> Result<(), Gone> {
        let mut chunk = self.chunk();
        chunk["choices"] = json!([{ "index": 0, "delta": delta, "finish_reason": null }]);
        self.send(chunk).await
    }

    async fn send(&mut self, data: Value) -> Result<(), Gone> {
        self.sender.send(Event::default().data(data.to_string())).await.map_err(|_| Gone)
    }
}
