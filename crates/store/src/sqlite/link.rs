//! One connection: statements asked and their errors named.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, Params, ffi};

use super::columns::Columns;
use crate::error::StoreError;

/// A connection, and the file that its errors are about.
#[derive(Clone, Copy, Debug)]
pub struct Link<'c> {
    pub connection: &'c Connection,
    pub path: &'c Path,
}

/// Reads one row.
pub type Read<T> = fn(&mut Columns<'_, '_>) -> rusqlite::Result<T>;

impl Link<'_> {
    /// Runs a statement and returns how many rows it has changed.
    pub fn run(self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(|error| self.error(error))
    }

    /// Reads at most one row.
    pub fn row<T>(
        self,
        sql: &str,
        params: impl Params,
        read: Read<T>,
    ) -> Result<Option<T>, StoreError> {
        let first = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            rows.next()?.map(|row| read(&mut Columns::new(row))).transpose()
        };
        first().map_err(|error| self.error(error))
    }

    /// Reads all rows.
    pub fn rows<T>(
        self,
        sql: &str,
        params: impl Params,
        read: Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        let all = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params, |row| read(&mut Columns::new(row)))?;
            rows.collect::<rusqlite::Result<Vec<T>>>()
        };
        all().map_err(|error| self.error(error))
    }

    pub fn error(self, error: rusqlite::Error) -> StoreError {
        named(error, self.path)
    }
}

/// Says what an error of SQLite means to whoever asked.
pub fn named(error: rusqlite::Error, path: &Path) -> StoreError {
    let path = path.to_owned();
    let reason = error.to_string();
    let rusqlite::Error::SqliteFailure(failure, _) = &error else {
        return StoreError::Broken(reason);
    };
    // The index of the log is a file too, and finds out about a full disk in its own way.
    if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
        return StoreError::Full { path };
    }
    match failure.code {
        ErrorCode::DiskFull => StoreError::Full { path },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy { path },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            StoreError::Corrupt { path, reason }
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
            StoreError::NotWritable { path, reason }
        }
        ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory => StoreError::Io { path, reason },
        _ => StoreError::Broken(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_means() {
        use std::mem::discriminant;

        let path = Path::new("/state/windlass.db");
        let (path_buf, reason) = (path.to_owned(), String::new());
        let full = StoreError::Full { path: path_buf.clone() };
        let busy = StoreError::Busy { path: path_buf.clone() };
        let io = StoreError::Io { path: path_buf.clone(), reason: reason.clone() };
        let corrupt = StoreError::Corrupt { path: path_buf.clone(), reason: reason.clone() };
        let closed = StoreError::NotWritable { path: path_buf, reason };
        let broken = StoreError::Broken(String::new());

        #[rustfmt::skip]
        let table = [
            // code                           error      fatal
            (ffi::SQLITE_FULL,                &full,     false),
            (ffi::SQLITE_IOERR_SHMSIZE,       &full,     false),
            (ffi::SQLITE_BUSY,                &busy,     false),
            (ffi::SQLITE_IOERR_FSYNC,         &io,       true),
            (ffi::SQLITE_IOERR_WRITE,         &io,       true),
            (ffi::SQLITE_CORRUPT,             &corrupt,  true),
            (ffi::SQLITE_NOTADB,              &corrupt,  true),
            (ffi::SQLITE_READONLY,            &closed,   true),
            (ffi::SQLITE_CANTOPEN,            &closed,   true),
            (ffi::SQLITE_CONSTRAINT_UNIQUE,   &broken,   false),
        ];

        for (code, expected, fatal) in table {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = named(error, path);
            assert_eq!(discriminant(&error), discriminant(expected), "{code}: {error}");
            assert_eq!(error.is_fatal(), fatal, "{code}: {error}");
        }
    }
}
