//! Why a store did not do what it was asked to.

use std::path::PathBuf;

/// Why there is no store, or no commit.
///
/// Variants are cut by what the caller does next: an operator changes something and starts again,
/// the driver tries again later, or the process exits and recovers at its next start
/// ([`StoreError::is_fatal`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error(
        "another gateway, process {pid}, uses the state folder (lock file {}); stop it, or give \
         this one another state folder",
        path.display()
    )]
    Locked { pid: String, path: PathBuf },

    #[error(
        "{} cannot be written: {reason}; the gateway needs to create and write files there",
        path.display()
    )]
    NotWritable { path: PathBuf, reason: String },

    #[error("{} does not exist; start the gateway once to create it", path.display())]
    Missing { path: PathBuf },

    #[error(
        "the disk that holds {} is full; free some space, nothing accepted is lost",
        path.display()
    )]
    Full { path: PathBuf },

    #[error(
        "another process keeps {} locked; close what is writing to it, and open it with \
         `sqlite3 -readonly` only",
        path.display()
    )]
    Busy { path: PathBuf },

    #[error(
        "{} is damaged: {reason}; look at it with `windlass db check`, and restore a backup made \
         by `windlass db backup`",
        path.display()
    )]
    Corrupt { path: PathBuf, reason: String },

    #[error(
        "{} was written by a newer Windlass (schema {found}); this one knows schemas up to \
         {known}. Start the newer one, or restore the copy that it made before it changed the file",
        path.display()
    )]
    NewerSchema { path: PathBuf, found: i64, known: i64 },

    #[error(
        "the schema of {} could not be brought to version {known}: {reason}; the file is as it \
         was, and a copy of it is beside it",
        path.display()
    )]
    Migration { path: PathBuf, known: i64, reason: String },

    #[error(
        "SQLite {found} can damage a database that two connections write at the same instant; \
         {needed} or newer is needed"
    )]
    OldSqlite { found: String, needed: String },

    #[error(
        "{} is on a network file system ({kind}), whose locks do not protect a database; choose a \
         state folder on a local disk",
        path.display()
    )]
    NetworkFs { path: PathBuf, kind: String },

    /// What is on the disk is in doubt: nobody may be answered, and only a new start may look.
    #[error("reading or writing {} failed: {reason}; check the disk", path.display())]
    Io { path: PathBuf, reason: String },

    /// A statement of ours that cannot work. A bug, and of this one request only.
    #[error("the store refused a statement, a bug: {0}")]
    Broken(String),
}

impl StoreError {
    /// Must the process end? All later commits would fail in the same way, and what has been
    /// written is found out by the recovery of the next start.
    pub fn is_fatal(&self) -> bool {
        match self {
            StoreError::Full { .. } | StoreError::Busy { .. } | StoreError::Broken(_) => false,
            StoreError::Locked { .. }
            | StoreError::NotWritable { .. }
            | StoreError::Missing { .. }
            | StoreError::Corrupt { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::Migration { .. }
            | StoreError::OldSqlite { .. }
            | StoreError::NetworkFs { .. }
            | StoreError::Io { .. } => true,
        }
    }
}
