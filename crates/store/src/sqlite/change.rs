//! Rows that are changed: a column that is in an index is set only if its value differs.
//!
//! SQLite touches every index of a column that is set, also when the value stays, and each index
//! is a page of the log. A run changes its phase five times and its session once; so what is
//! written would be three times what has changed.

use std::sync::{LazyLock, OnceLock};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement, ToSql};

use super::columns::columns;
use super::link::Link;
use crate::error::StoreError;

/// How the rows of one table change.
#[derive(Debug)]
pub struct Table {
    name: &'static str,
    /// In the order in which values come.
    columns: Vec<&'static str>,
    keys: usize,
    /// Columns that change and are in no index.
    plain: Vec<&'static str>,
    indexed: &'static [&'static str],
    guard: String,
    select: String,
    insert: String,
    /// One for each set of indexed columns that differ, by its bits.
    updates: Vec<OnceLock<String>>,
}

/// What a table is made of.
struct Parts {
    name: &'static str,
    columns: &'static str,
    /// So many of the first columns are the key.
    keys: usize,
    /// Columns that are written once.
    fixed: &'static [&'static str],
    /// Columns that change and are in an index, or in the condition of one.
    indexed: &'static [&'static str],
    /// What must hold of the row that is there; `{column}` is the new value.
    guard: &'static str,
}

pub static SESSIONS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(Parts {
        name: "sessions",
        columns: columns!(sessions),
        keys: 1,
        fixed: &["agent", "kind"],
        // A session of the pool gets another parent and tree when it is taken. Both name rows of
        // this table: for such a column SQLite touches all indexes, also those without it.
        indexed: &[
            "session_id",
            "parent_key",
            "root_key",
            "owner",
            "lifecycle",
            "open_run",
            "label",
            "active_ms",
            "pool_key",
            "deleted_ms",
        ],
        guard: "true",
    })
});

pub static TRANSCRIPTS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(Parts {
        name: "transcripts",
        columns: columns!(transcripts),
        keys: 1,
        fixed: &[
            "session_key",
            "started_ms",
            "base_id",
            "base_first_seq",
            "base_last_seq",
            "base_episode",
        ],
        indexed: &["ended_ms"],
        guard: "true",
    })
});

pub static TASKS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(Parts {
        name: "tasks",
        columns: columns!(tasks),
        keys: 1,
        fixed: &[
            "requester_key",
            "parent_id",
            "root_key",
            "depth",
            "session_key",
            "run_id",
            "task_name",
            "label",
            "idem_key",
            "dup_hash",
            "cleanup",
            "origin",
            "created_ms",
            "kind",
            "deliverables",
            "attempt",
            "flow_id",
            "node",
            "retry_of",
        ],
        indexed: &["ended_ms"],
        guard: "outcome is null or outcome = {outcome}",
    })
});

pub static RUNS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(Parts {
        name: "runs",
        columns: columns!(runs),
        keys: 1,
        fixed: &[
            "wire_id",
            "session_key",
            "session_id",
            "task_id",
            "lane",
            "root_key",
            "queued_ms",
        ],
        indexed: &["phase", "wait_kind", "rank", "slot", "node_id", "model", "ended_ms", "budget"],
        guard: "{gen} >= gen and (phase <> 'ended' or outcome = {outcome})",
    })
});

pub static STEPS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(Parts {
        name: "steps",
        columns: columns!(steps),
        keys: 2,
        fixed: &["kind", "asked_by", "name", "call_id", "args_hash", "started_ms"],
        indexed: &["state", "waits_on"],
        guard: "state in ('intent', 'waiting') or state = {state}",
    })
});

impl Table {
    fn new(parts: Parts) -> Table {
        let Parts { name, columns, keys, fixed, indexed, guard } = parts;
        let all: Vec<&str> = columns.split(',').map(str::trim).collect();
        let values: Vec<String> = (1..=all.len()).map(|n| format!("?{n}")).collect();
        let mut guard = guard.to_owned();
        for (column, value) in all.iter().zip(&values) {
            guard = guard.replace(&format!("{{{column}}}"), value);
        }
        let of_key = key(&all[..keys]);
        let others = all.iter().skip(keys).copied();
        let plain = others.filter(|one| !fixed.contains(one) && !indexed.contains(one));
        Table {
            name,
            keys,
            plain: plain.collect(),
            indexed,
            guard,
            select: format!("select {} from {name} where {of_key}", indexed.join(", ")),
            insert: format!("insert into {name} ({columns}) values ({})", values.join(", ")),
            updates: (0..1 << indexed.len()).map(|_| OnceLock::new()).collect(),
            columns: all,
        }
    }

    fn place(&self, column: &str) -> usize {
        let place = self.columns.iter().position(|one| *one == column);
        place.unwrap_or_else(|| panic!("{} has no column {column}", self.name))
    }

    /// Changes a row in the columns that change, or adds it. Returns how many rows were written:
    /// none if the row that is there forbids it.
    pub fn put(&self, link: Link<'_>, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
        self.write(link, values).map_err(|error| link.error(error))
    }

    fn write(&self, link: Link<'_>, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        let mut select = link.connection.prepare_cached(&self.select)?;
        bind(&mut select, values)?;
        let mut rows = select.raw_query();
        let differ = match rows.next()? {
            Some(row) => Some(self.differing(row, values)?),
            None => None,
        };
        drop(rows);
        let sql = match differ {
            Some(differ) => self.updates[differ].get_or_init(|| self.update(differ)),
            None => &self.insert,
        };
        let mut statement = link.connection.prepare_cached(sql)?;
        bind(&mut statement, values)?;
        statement.raw_execute()
    }

    /// The set of indexed columns in which the row differs from `values`.
    fn differing(&self, row: &Row<'_>, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        let mut differ = 0;
        for (n, column) in self.indexed.iter().enumerate() {
            let new = values[self.place(column)].to_sql()?;
            if row.get_ref(n)? != borrowed(&new)? {
                differ |= 1 << n;
            }
        }
        Ok(differ)
    }

    fn update(&self, differ: usize) -> String {
        let indexed = self.indexed.iter().enumerate();
        let indexed = indexed.filter(|(n, _)| differ & (1 << n) != 0).map(|(_, column)| column);
        let set: Vec<String> = self
            .plain
            .iter()
            .chain(indexed)
            .map(|column| format!("{column} = ?{}", self.place(column) + 1))
            .collect();
        let of_key = key(&self.columns[..self.keys]);
        let Table { name, guard, .. } = self;
        format!("update {name} set {} where {of_key} and ({guard})", set.join(", "))
    }
}

/// The condition that names one row. The key comes first among the values.
fn key(columns: &[&str]) -> String {
    let terms: Vec<String> =
        columns.iter().enumerate().map(|(n, column)| format!("{column} = ?{}", n + 1)).collect();
    terms.join(" and ")
}

/// Binds as many values as the statement has places for, whether or not it uses them all.
fn bind(statement: &mut Statement<'_>, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
    for (n, value) in values.iter().enumerate().take(statement.parameter_count()) {
        statement.raw_bind_parameter(n + 1, value)?;
    }
    Ok(())
}

fn borrowed<'v>(value: &'v ToSqlOutput<'_>) -> rusqlite::Result<ValueRef<'v>> {
    match value {
        ToSqlOutput::Borrowed(value) => Ok(*value),
        ToSqlOutput::Owned(value) => Ok(value.into()),
        _ => Err(rusqlite::Error::ToSqlConversionFailure("a value of no plain type".into())),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::sqlite::open;

    /// A column that is in an index, and is set although it stays, costs a page of that index.
    #[test]
    fn every_column_of_an_index_is_known_to_be_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open::writer(&folder.path().join("w.db"), None).unwrap();
        for table in [&SESSIONS, &TRANSCRIPTS, &TASKS, &RUNS, &STEPS] {
            let indexes = indexes(&connection, table.name);
            assert!(!indexes.is_empty());
            for column in &table.plain {
                let of = indexes.iter().find(|sql| words(sql).any(|word| word == *column));
                assert_eq!(of, None, "{}.{column} is in an index", table.name);
            }
        }
    }

    fn indexes(connection: &Connection, table: &str) -> Vec<String> {
        let sql = "select sql from sqlite_schema where type = 'index' and tbl_name = ?1 \
                   and sql is not null";
        let mut statement = connection.prepare(sql).unwrap();
        let found = statement.query_map([table], |row| row.get(0)).unwrap();
        found.collect::<rusqlite::Result<_>>().unwrap()
    }

    fn words(sql: &str) -> impl Iterator<Item = &str> {
        sql.split(|c: char| !(c.is_alphanumeric() || c == '_'))
    }

    /// Counts the pages of the log that a change of one row takes.
    #[test]
    fn a_change_touches_the_indexes_of_what_differs_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.db");
        let connection = open::writer(&path, None).unwrap();
        let link = Link { connection: &connection, path: &path };
        let frames = || -> i64 {
            let log = "pragma wal_checkpoint(noop)";
            connection.query_row(log, [], |row| row.get(1)).unwrap()
        };
        let put = |rev: i64, active: i64| {
            let before = frames();
            let none = rusqlite::types::Null;
            let key = "agent:main:main";
            let values: &[&dyn ToSql] = rusqlite::params![
                key, "ses_1", "main", "ann", none, key, 0, "open", none, none, none, none, rev, 1,
                active, none, "full", none, none, none, none, none, "main", none, none, none, none,
                "off", none, "off"
            ];
            assert_eq!(SESSIONS.put(link, values).unwrap(), 1);
            frames() - before
        };
        let (added, plain, indexed) = (put(1, 1), put(2, 1), put(3, 2));
        assert_eq!(plain, 1, "only the page of the row");
        assert!(plain < indexed && indexed < added, "{plain}, {indexed}, {added}");
    }
}
