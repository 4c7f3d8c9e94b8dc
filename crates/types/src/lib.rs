//! The nouns that every crate shares: ids, session keys, messages, tokens, time.
//!
//! Nothing here decides, stores or sends. Text from outside becomes one of these types
//! once, at the edge, with an error that says what was expected.
//!
//! Reading order: [`id`], [`session_key`], [`message`], [`tool`], [`request`],
//! [`flow`], [`failure`], [`usage`], [`money`], [`time`], [`excerpt`].

pub mod excerpt;
pub mod card;
pub mod failure;
pub mod flow;
pub mod hash;
pub mod id;
pub mod message;
pub mod money;
pub mod request;
pub mod session_key;
pub mod thinking;
pub mod time;
pub mod tool;
pub mod usage;

pub use card::{Card, PlanStatus, PlanStep};
pub use excerpt::BlobId;
pub use failure::{FailureClass, Overflow};
pub use flow::{FlowFault, FlowRequest, FlowTarget, FlowTask, NodeName, OnFailure};
pub use hash::Hash;
pub use id::{ApprovalId, FlowId, MessageId, NodeId, ParseIdError, RunId, SessionId, TaskId};
pub use message::{
    AssistantMessage, Footer, Message, Prefix, Reasoning, StopReason, ToolCall, ToolResult, Wire,
};
pub use money::{AmountError, Budget, MicroUsd, Price, Spend, SpendBy};
pub use request::{
    Access, Announce, Cleanup, Deliverables, InternalCall, Reuse, SendMode, SendRequest,
    SendTarget, SessionRef, SpawnContext, SpawnRequest, TaskTarget, WaitFor, WaitRequest, WhenBusy,
    YieldRequest,
};
pub use session_key::{AgentId, Name, ParseSessionKeyError, Scope, ScopeKind, SessionKey};
pub use thinking::Thinking;
pub use time::Timestamp;
pub use tool::{CommandLine, EffectClass, ToolSpec};
pub use usage::Usage;

/// Implements `Serialize` and `Deserialize` through `Display` and `FromStr`, so that the
/// JSON of a type cannot disagree with its text.
#[macro_export]
macro_rules! serde_as_str {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Gives an enum of plain variants one word for each: `as_str`, `Display`, `FromStr`, serde,
/// and `ALL`. The words are what the database, the wire and people see.
#[macro_export]
macro_rules! word_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// Returns the one word of this value.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<$name, $crate::UnknownWord> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::UnknownWord {
                        text: text.to_owned(),
                        expected: &[$($word),+],
                    }),
                }
            }
        }

        $crate::serde_as_str!($name);
    };
}

/// A word that is not one of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected:?}, got `{text}`")]
pub struct UnknownWord {
    pub text: String,
    pub expected: &'static [&'static str],
}
