//! The agents of the configuration's file, as far as clients may change them.

use std::fmt;
use std::path::PathBuf;

use types::AgentId;

/// What a client wants said of an agent. What is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub name: Option<String>,
    pub workspace: Option<String>,
    /// Some none takes out what is said.
    pub model: Option<Option<String>>,
}

/// What the file says of an agent after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub workspace: PathBuf,
    pub model: Option<String>,
}

/// Whoever can write the file. Calls block; what is wrong comes back in words, and then nothing
/// was written.
pub trait Roster: fmt::Debug + Send + Sync {
    fn create(&self, id: &AgentId, wish: &Wish) -> Result<Changed, String>;
    fn update(&self, id: &AgentId, wish: &Wish) -> Result<Changed, String>;
    fn delete(&self, id: &AgentId) -> Result<Changed, String>;
}
