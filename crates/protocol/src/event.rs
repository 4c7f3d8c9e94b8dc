//! The events that a gateway sends by itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use types::Timestamp;

use crate::agent::AgentEvent;
use crate::approvals::Approval;
use crate::chat::ChatEvent;
use crate::frame::EventFrame;
use crate::handshake::Challenge;
use crate::health::Health;
use crate::notice::{ProgressCardChanged, ProviderGate, QueueWait, SessionOperation};
use crate::sessions::SessionsChanged;

/// The time: sent so that a client knows the connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub ts: Timestamp,
}

/// The gateway stops. Clients come again after the restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shutdown {
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_expected_ms: Option<u64>,
}

/// Events of this connection that are not sent: its client reads more slowly than they came. What
/// they said is in the store; drafts of what is still being said come anew, each with all its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Number of the first that is missing.
    pub from: u64,
    /// Number of the last.
    pub to: u64,
}

/// Makes [`Event`] and its names out of one table.
macro_rules! events {
    ($($variant:ident($payload:ty) = $name:literal,)+) => {
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event { $($variant($payload),)+ }

        impl Event {
            /// The name of every event that we send.
            pub const NAMES: &[&str] = &[$($name),+];

            pub const fn name(&self) -> &'static str {
                match self { $(Event::$variant(_) => $name,)+ }
            }

            /// Encodes the payload, once for all who will get it.
            ///
            /// # Panics
            ///
            /// If it does not become JSON, which no payload here can cause.
            pub fn encode(&self) -> Arc<RawValue> {
                let raw = match self { $(Event::$variant(payload) => to_raw_value(payload),)+ };
                raw.expect("a payload of this crate is JSON").into()
            }

            /// Reads an event of a gateway. `None` is one that we do not know: skip it.
            pub fn parse(frame: &EventFrame) -> Result<Option<Event>, serde_json::Error> {
                let payload = frame.payload.as_ref().map_or("null", |payload| payload.get());
                match frame.event.as_str() {
                    $($name => serde_json::from_str(payload).map(Event::$variant).map(Some),)+
                    _ => Ok(None),
                }
            }
        }
    };
}

events! {
    Challenge(Challenge) = "connect.challenge",
    Chat(Box<ChatEvent>) = "chat",
    Agent(Box<AgentEvent>) = "agent",
    SessionsChanged(Box<SessionsChanged>) = "sessions.changed",
    Tick(Tick) = "tick",
    Shutdown(Shutdown) = "shutdown",
    Health(Box<Health>) = "health",
    QueueWait(Box<QueueWait>) = "queue.wait",
    ProviderGate(Box<ProviderGate>) = "provider.gate",
    Gap(Gap) = "gap",
    SessionOperation(Box<SessionOperation>) = "session.operation",
    ProgressCard(Box<ProgressCardChanged>) = "progressCard.changed",
    ApprovalRequested(Box<Approval>) = "exec.approval.requested",
    ApprovalResolved(Box<Approval>) = "exec.approval.resolved",
}

impl Event {
    /// Does a later event say all that this one says?
    pub fn is_draft(&self) -> bool {
        match self {
            Event::Chat(chat) => !chat.state.is_terminal(),
            Event::Agent(agent) => agent.stream.is_draft(),
            Event::Tick(_) => true,
            _ => false,
        }
    }

    /// Makes the frame of one connection; `seq` counts its frames.
    pub fn frame(&self, seq: Option<u64>) -> EventFrame {
        let event = self.name().to_owned();
        EventFrame { event, payload: Some(self.encode()), seq, state_version: None }
    }
}
