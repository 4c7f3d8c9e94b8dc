//! A text that nobody may see.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};
use types::word_enum;

use super::document::Value;
use super::section::{Section, Spot};

/// What stands in a secret's place wherever it would be shown.
const REDACTED: &str = "[redacted]";

/// A key, a token, the value of a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Returns the text, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

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
    /// A secret: its text, `${VARIABLE}`, `{source: "env", id}` or `{source: "file", path}`.
    /// Nothing that it holds is ever repeated in an error.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        let node = self.node(key)?;
        let spot = self.spot_of(key);
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => {
                self.cx.substitute(text, self.if_missing, &spot).map(Secret)
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
            self.cx.error(spot, "`source` is missing: expected `env` or `file`");
            self.ignore("id");
            self.ignore("path");
            return None;
        }
        match self.word("source", Source::ALL, &["exec", "store"])? {
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
                value.map(Secret)
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
        }
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
    }
}
