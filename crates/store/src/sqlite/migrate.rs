//! From an older schema to the one that this program knows. Forward only, and never without a
//! copy of what was.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::copy;
use super::link::named;
use crate::error::StoreError;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// The newest schema that this program knows.
pub fn known() -> i64 {
    let all = embedded::migrations::runner();
    all.get_migrations().iter().map(|one| i64::from(one.version())).max().unwrap_or(0)
}

/// The schema of a database; none if it is empty.
pub fn found(connection: &Connection, path: &Path) -> Result<Option<i64>, StoreError> {
    let history = "select 1 from sqlite_schema where name = 'refinery_schema_history'";
    let ask = || -> rusqlite::Result<Option<i64>> {
        if connection.query_row(history, [], |_| Ok(())).optional()?.is_none() {
            return Ok(None);
        }
        connection
            .query_row("select max(version) from refinery_schema_history", [], |row| row.get(0))
    };
    ask().map_err(|error| named(error, path))
}

/// Refuses a database that a newer program has changed.
pub fn refuse_newer(connection: &Connection, path: &Path) -> Result<Option<i64>, StoreError> {
    let (found, known) = (found(connection, path)?, known());
    match found {
        Some(found) if found > known => {
            Err(StoreError::NewerSchema { path: path.to_owned(), found, known })
        }
        found => Ok(found),
    }
}

/// Brings the database to the newest schema, after a copy of it.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let known = known();
    match refuse_newer(connection, path)? {
        Some(version) if version == known => return Ok(()),
        Some(version) => keep_copy(connection, path, version, known)?,
        None => {}
    }
    let failed = |reason: String| StoreError::Migration { path: path.to_owned(), known, reason };
    // A table that is built anew is gone for a moment. What refers to it is checked afterwards.
    foreign_keys(connection, false).map_err(|error| named(error, path))?;
    let runner = embedded::migrations::runner().set_grouped(true);
    let migrated = runner.run(connection).map(drop).map_err(|error| failed(error.to_string()));
    let dangling = "select count(*) from pragma_foreign_key_check";
    let dangling: i64 =
        connection.query_row(dangling, [], |row| row.get(0)).map_err(|error| named(error, path))?;
    foreign_keys(connection, true).map_err(|error| named(error, path))?;
    migrated?;
    if dangling > 0 {
        return Err(failed(format!("{dangling} rows would refer to rows that are not there")));
    }
    Ok(())
}

fn foreign_keys(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", on)
}

fn keep_copy(
    connection: &Connection,
    path: &Path,
    version: i64,
    known: i64,
) -> Result<(), StoreError> {
    let sql = "select cast((julianday('now') - 2440587.5) * 86400000 as integer)";
    let ms: i64 =
        connection.query_row(sql, [], |row| row.get(0)).map_err(|error| named(error, path))?;
    let to = path.with_file_name(format!("windlass-before-v{known}-{ms}.db"));
    copy::copy(connection, path, &to)?;
    tracing::info!(from = version, to = known, copy = %to.display(), "migrating the database");
    Ok(())
}
