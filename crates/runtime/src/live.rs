//! What happens now, for whoever watches: news of commits, and drafts of answers.
//!
//! Nothing here is durable. A watcher that falls behind loses what it has missed and is told so;
//! it reads the rest from the store.

use std::sync::Arc;

use machine::Notice;
use machine::effect::ModelCall;
pub use providers::Delta;
use tokio::sync::broadcast;
use types::{RunId, SessionKey};

/// Events that a slow watcher may lag behind. One commit can publish thousands at once: an answer
/// that spawns a thousand children is five news for each, before anybody can have read one. Three
/// times that is seconds of a busy gateway, and under a megabyte while nothing happens.
const BACKLOG: usize = 16_384;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum LiveEvent {
    /// Committed.
    Notice(Notice),
    /// A draft: lost if the call is cut, and replaced by the answer.
    Delta { run: RunId, wire_id: String, session: SessionKey, step: u32, delta: Delta },
    /// A model call goes out.
    Calling { run: RunId, model: String },
    /// The gateway is going down.
    Shutdown,
}

/// The publisher. Cloned freely.
#[derive(Clone, Debug)]
pub struct Live(broadcast::Sender<Arc<LiveEvent>>);

impl Default for Live {
    fn default() -> Live {
        Live(broadcast::channel(BACKLOG).0)
    }
}

impl Live {
    pub fn publish(&self, event: LiveEvent) {
        // Nobody watching is no error.
        let _ = self.0.send(Arc::new(event));
    }

    pub fn calling(&self, call: &ModelCall) {
        if self.0.receiver_count() > 0 {
            self.publish(LiveEvent::Calling { run: call.run, model: call.model.clone() });
        }
    }

    pub fn delta(&self, call: &ModelCall, delta: Delta) {
        if self.0.receiver_count() > 0 {
            self.publish(LiveEvent::Delta {
                run: call.run,
                wire_id: call.wire_id.clone(),
                session: call.session.clone(),
                step: call.step,
                delta,
            });
        }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Arc<LiveEvent>> {
        self.0.subscribe()
    }
}
