//! A text that nobody may see.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use types::word_enum;

mod teller;

use teller::Teller;
pub use teller::Untold;

use super::document::Value;
use super::section::{Section, Spot};

/// What stands in a secret's place wherever it would be shown.
const REDACTED: &str = "[redacted]";

/// A key, a token, the value of a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Kept);

#[derive(Clone, PartialEq, Eq)]
enum Kept {
    Text(String),
    Told(Arc<Teller>),
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Kept::Text(text.into()))
    }

    /// Returns the text, for the one place that sends or compares it. A command that tells it is
    /// run by the first who asks.
    pub fn expose(&self) -> Result<&str, Untold> {
        match &self.0 {
            Kept::Text(text) => Ok(text),
            Kept::Told(teller) => teller.tell(),
        }
    }
}

/// How long a command that tells a secret may take: somebody may have to touch a key.
const TELL_SECONDS: u64 = 10;
const TELL_SECONDS_MAX: u64 = 120;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl Section<'_> {
    /// A secret: its text, `${VARIABLE}`, `{source: "env", id}`, `{source: "file", path}` or
    /// `{source: "exec", command: ["program", "argument"]}`.
    /// Nothing that it holds is ever repeated in an error.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        let node = self.node(key)?;
        let spot = self.spot_of(key);
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => {
                self.cx.substitute(text, self.if_missing, &spot).map(Secret::new)
            }
            Value::Object(_) => self.section(key, |s| s.secret_ref(&spot)),
            _ => {
                let got = match &node.value {
                    Value::Text(_) => "an empty string",
                    _ => node.kind(),
                };
                let expected = "a string, or `{source: \"env\", id: \"NAME\"}`";
                self.cx.error(&spot, format!("expected {expected}, got {got}"));
                None
            }
        }
    }

    /// Follows a reference to a secret. `spot` is where it is written.
    fn secret_ref(&mut self, spot: &Spot) -> Option<Secret> {
        // OpenClaw names a store of secrets here; a variable and a file need none.
        self.ignore("provider");
        if self.node("source").is_none() {
            self.cx.error(spot, "`source` is missing: expected `env`, `file` or `exec`");
            self.ignore("id");
            self.ignore("path");
            self.ignore("command");
            return None;
        }
        match self.word("source", Source::ALL, &["store"])? {
            Source::Env => {
                if self.node("id").is_none() {
                    self.cx.error(spot, "`id` is missing: expected the name of a variable");
                }
                let name = self.text("id")?;
                let value = self.cx.outside.var(&name);
                if value.is_none() {
                    let message = format!("the variable `{name}` is not set");
                    self.cx.missing(self.if_missing, spot, message);
                }
                value.map(Secret::new)
            }
            Source::File => {
                self.ignore("id");
                if self.node("path").is_none() {
                    let message = "`path` is missing: expected a file that holds only the secret \
                                   (`secrets.providers` is not supported yet)";
                    self.cx.error(spot, message);
                }
                let path = self.path("path")?;
                self.secret_file(&path, spot)
            }
            Source::Exec => self.secret_command(spot),
        }
    }

    /// A program that prints the secret. It is not run here: every command reads the file, and few
    /// need what it says.
    fn secret_command(&mut self, spot: &Spot) -> Option<Secret> {
        self.ignore("id");
        if self.node("command").is_none() {
            let message = "`command` is missing: expected a list, as in [\"pass\", \"show\", \
                           \"key\"] (`secrets.providers` is not supported yet)";
            self.cx.error(spot, message);
        }
        let argv = self.texts("command");
        let seconds = self.integer("timeoutSeconds", 1..=TELL_SECONDS_MAX).unwrap_or(TELL_SECONDS);
        let argv = argv?;
        if argv.is_empty() {
            self.cx.error(&self.spot_of("command"), "expected a program and its arguments");
            return None;
        }
        Some(Secret(Kept::Told(Arc::new(Teller::new(argv, Duration::from_secs(seconds))))))
    }

    fn secret_file(&self, path: &Path, spot: &Spot) -> Option<Secret> {
        let why = match self.cx.outside.read(path) {
            Ok(text) if !text.trim().is_empty() => return Some(Secret::new(text.trim())),
            Ok(_) => format!("the file {} is empty", path.display()),
            Err(error) => format!("cannot read {}: {error}", path.display()),
        };
        self.cx.missing(self.if_missing, spot, why);
        None
    }
}

word_enum! {
    enum Source {
        Env = "env",
        File = "file",
        /// Printed by a program.
        Exec = "exec",
    }
}
