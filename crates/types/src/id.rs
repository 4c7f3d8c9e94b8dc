//! Names of rows: a prefix that says what it is, and a UUIDv7 that sorts by creation time.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::serde_as_str;

/// Defines an id that is printed and stored as its prefix followed by 32 lowercase hex digits.
macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            const PREFIX: &str = $prefix;

            /// Wraps a UUID that the caller minted. The machine never makes ids of its own
            /// out of a clock: it would stop being deterministic.
            pub const fn new(uuid: Uuid) -> $name {
                $name(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $name::PREFIX, self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<$name, ParseIdError> {
                let invalid = || ParseIdError { expected: $name::PREFIX, text: text.to_owned() };
                let digits = text.strip_prefix($name::PREFIX).ok_or_else(invalid)?;
                let id = Uuid::try_parse(digits).map($name).map_err(|_| invalid())?;
                // `Uuid` also reads capitals and hyphens. One id has one text.
                if id.to_string() == text { Ok(id) } else { Err(invalid()) }
            }
        }

        serde_as_str!($name);
    };
}

id! {
    /// One transcript of a session. `/new` mints another under the same key.
    SessionId, "ses_"
}
id! {
    /// One execution of an agent in a session: inbox rows in, steps, a reply out.
    RunId, "run_"
}
id! {
    /// The ledger row of detached work.
    TaskId, "tsk_"
}
id! {
    /// A declared graph of tasks.
    FlowId, "flw_"
}
id! {
    /// One row of an inbox.
    MessageId, "msg_"
}
id! {
    /// A call that waits until a person allows it.
    ApprovalId, "apr_"
}
id! {
    /// One start of a gateway process.
    NodeId, "nod_"
}

/// Text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an id that starts with `{expected}` and has 32 lowercase hex digits, got `{text}`"
)]
pub struct ParseIdError {
    expected: &'static str,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_parse_round_trip() {
        let text = "run_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8";
        let id: RunId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::from_str::<RunId>(&format!("\"{text}\"")).unwrap(), id);
    }

    #[test]
    fn rejects_anything_but_the_one_text() {
        for text in [
            "",
            "run_xyz",
            "tsk_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8",
            "run_0193A5F06C7E7CC2A1B2D3E4F5A6B7C8",
            "run_0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text:?} must not parse");
        }
    }
}
