//! Opening the file: is it ours, whole, and of a schema that we know?

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::link::named;
use super::migrate;
use crate::error::StoreError;

/// The first version without the bug by which two connections that write or checkpoint at the
/// same instant damage a database in WAL mode (3.7.0 to 3.51.2).
const NEEDED: (i32, &str) = (3_051_003, "3.51.3");

/// `synchronous=FULL`: an acknowledged commit survives power loss. No mapping: an I/O error in one
/// is a signal, and not an error. The cache is small on purpose: it fills with what was written,
/// so with a large one memory follows history and not work. What it does not hold, the kernel
/// does, and a transaction that is larger than it goes on in the log. Pages are small because most
/// commits change a few rows of a few hundred bytes, and a page is what is written for each; a
/// file that was made with larger ones keeps them.
const PRAGMAS: &str = "\
    pragma page_size = 2048;
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma foreign_keys = on;
    pragma trusted_schema = off;
    pragma busy_timeout = 5000;
    pragma cache_size = -2048;
    pragma mmap_size = 0;
    pragma temp_store = memory;
    pragma journal_size_limit = 67108864;
    pragma wal_autocheckpoint = 8000;";

/// On macOS `fsync` alone does not reach the disk.
const PRAGMAS_MACOS: &str = "pragma fullfsync = 1; pragma checkpoint_fullfsync = 1;";

const READER_PRAGMAS: &str = "\
    pragma query_only = on;
    pragma trusted_schema = off;
    pragma busy_timeout = 5000;
    pragma cache_size = -1024;
    pragma mmap_size = 0;
    pragma temp_store = memory;";

/// Statements kept prepared: more than there are in this crate.
const STATEMENTS: usize = 256;

/// Refuses an SQLite that damages databases. The bundled one is new enough; a build against the
/// system's need not be.
pub fn check_version() -> Result<(), StoreError> {
    if rusqlite::version_number() >= NEEDED.0 {
        return Ok(());
    }
    Err(StoreError::OldSqlite {
        found: rusqlite::version().to_owned(),
        needed: NEEDED.1.to_owned(),
    })
}

/// Makes the file, if it is not there, so that only its owner can read it: conversations are in it.
/// SQLite gives its log the same rights.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let reason = error.to_string();
            Err(StoreError::NotWritable { path: path.to_owned(), reason })
        }
    }
}

/// Opens the write connection, and brings the file to the newest schema.
pub fn writer(path: &Path, max_pages: Option<u32>) -> Result<Connection, StoreError> {
    check_header(path)?;
    make_private(path)?;
    let failed = |error| named(error, path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // Before anything is changed, even the journal mode: the newer program may want another.
    migrate::refuse_newer(&connection, path)?;
    connection.execute_batch(PRAGMAS).map_err(failed)?;
    if cfg!(target_os = "macos") {
        connection.execute_batch(PRAGMAS_MACOS).map_err(failed)?;
    }
    check_journal_mode(&connection, path)?;
    migrate::migrate(&mut connection, path)?;
    probe(&connection, path)?;
    if let Some(pages) = max_pages {
        let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        connection
            .query_row(&format!("pragma max_page_count = {pages}"), [], set)
            .map_err(failed)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a connection that cannot write.
pub fn reader(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    check_header(path)?;
    let failed = |error| named(error, path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.execute_batch(READER_PRAGMAS).map_err(failed)?;
    migrate::refuse_newer(&connection, path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// A file that is not empty must begin as a database does. SQLite itself would take some garbage
/// for an empty database and overwrite it.
fn check_header(path: &Path) -> Result<(), StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let reason = error.to_string();
            return Err(StoreError::NotWritable { path: path.to_owned(), reason });
        }
    };
    let mut head = Vec::with_capacity(16);
    let read = (&mut file).take(16).read_to_end(&mut head);
    if let Err(error) = read {
        return Err(StoreError::Io { path: path.to_owned(), reason: error.to_string() });
    }
    if head.is_empty() || head == b"SQLite format 3\0" {
        return Ok(());
    }
    let reason = "it does not begin as a database does".to_owned();
    Err(StoreError::Corrupt { path: path.to_owned(), reason })
}

fn check_journal_mode(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode: String = connection
        .query_row("pragma journal_mode", [], |row| row.get(0))
        .map_err(|error| named(error, path))?;
    if mode == "wal" {
        return Ok(());
    }
    let reason = format!("the file system does not let it have a write-ahead log (mode {mode})");
    Err(StoreError::NotWritable { path: path.to_owned(), reason })
}

/// Reads one row of each table: cheap, and a torn file is seen now rather than in the middle of a
/// run. A full check is `windlass db check`.
fn probe(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let ask = || -> rusqlite::Result<()> {
        let mut names =
            connection.prepare("select name from sqlite_schema where type = 'table'")?;
        let names: Vec<String> =
            names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for name in names {
            let mut statement = connection.prepare(&format!("select * from \"{name}\" limit 1"))?;
            statement.query([])?.next()?;
        }
        Ok(())
    };
    ask().map_err(|error| named(error, path))
}
