//! Looking at the file from outside the gateway: reading, checking, copying.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use machine::Limits;
use machine::check::{Violation, check};
use rusqlite::{Connection, TransactionBehavior};
use serde::Serialize;

use super::ask::Snapshot;
use super::link::Link;
use super::sessions::miscounted;
use super::summed::Summed;
use super::{copy, open, readers};
use crate::error::StoreError;
use crate::query::{Job, Query, Reads};

/// How many faults of a damaged file are worth reading.
const FAULTS_MAX: usize = 100;

/// The file of a state folder, opened for reading only. It needs no lock, and no gateway.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Mutex<Connection>,
    summed: Summed,
}

/// What a check has found. All empty is well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Of the file: `pragma integrity_check`.
    pub damage: Vec<String>,
    /// Rows that name rows which are not there.
    pub dangling: Vec<String>,
    /// Of the meaning: the invariants of the machine.
    pub violations: Vec<String>,
}

impl Check {
    pub fn is_well(&self) -> bool {
        self.damage.is_empty() && self.dangling.is_empty() && self.violations.is_empty()
    }
}

impl Reader {
    /// Opens a database for reading only.
    pub fn open(path: &Path) -> Result<Reader, StoreError> {
        let connection = open::reader(path)?;
        Ok(Reader {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            summed: Summed::default(),
        })
    }

    /// Puts questions to one snapshot, in this thread.
    pub fn ask<T>(
        &self,
        questions: impl FnOnce(&dyn Query) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let link = Link { connection: &connection, path: &self.path };
        let transaction =
            rusqlite::Transaction::new_unchecked(&connection, TransactionBehavior::Deferred)
                .map_err(|error| link.error(error))?;
        let answer = questions(&Snapshot { link, summed: &self.summed });
        transaction.finish().map_err(|error| link.error(error))?;
        answer
    }

    /// Checks the whole file, and the invariants of what is in it.
    pub fn check(&self, limits: &Limits) -> Result<Check, StoreError> {
        let mut found = self.check_file()?;
        // Rows of a damaged file may not be readable at all.
        if found.damage.is_empty() {
            let world = self.ask(|rows| rows.snapshot())?;
            found.violations.extend(check(&world, limits).iter().map(Violation::to_string));
        }
        Ok(found)
    }

    fn check_file(&self) -> Result<Check, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let link = Link { connection: &connection, path: &self.path };
        let sql = format!("pragma integrity_check({FAULTS_MAX})");
        let mut damage = link.rows(&sql, [], |c| c.get::<String>())?;
        damage.retain(|line| line != "ok");
        let sql = format!(
            "select \"table\" || ' row ' || coalesce(rowid, '?') || ' names a missing row of ' \
             || parent from pragma_foreign_key_check limit {FAULTS_MAX}"
        );
        let dangling = link.rows(&sql, [], |c| c.get::<String>())?;
        let violations = if damage.is_empty() { miscounted(link)? } else { Vec::new() };
        Ok(Check { damage, dangling, violations })
    }

    /// Copies the database to `to`, which must not exist.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        backup(&self.path, to)
    }
}

#[async_trait]
impl Reads for Reader {
    async fn with_snapshot(&self, job: Job) -> Result<(), StoreError> {
        // A verb of the command line has nothing else to do meanwhile.
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        readers::snapshot(&connection, &self.path, &self.summed, job)
    }
}

/// Copies a database that may be in use.
pub fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = open::reader(from)?;
    // A copy is a write to SQLite, though not to this file.
    connection
        .pragma_update(None, "query_only", false)
        .map_err(|error| Link { connection: &connection, path: from }.error(error))?;
    copy::copy(&connection, from, to)
}
