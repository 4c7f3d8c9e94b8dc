//! Texts that are kept whole beside their transcripts, in SQL.

use machine::rows::Kept;
use rusqlite::params;
use types::{Hash, SessionKey, Timestamp};

use super::columns::{Columns, Text, int, number};
use super::link::Link;
use crate::error::StoreError;

/// Keeps a text, or notes that it has come again.
pub fn put(link: Link<'_>, row: &Kept, text: &str) -> Result<(), StoreError> {
    let sql = "insert into kept (root_key, hash, run_id, bytes, at_ms, text) \
               values (?1, ?2, ?3, ?4, ?5, ?6) on conflict (root_key, hash) \
               do update set run_id = excluded.run_id, at_ms = excluded.at_ms";
    let (root, hash, run) = (Text(&row.root_key), Text(row.hash), Text(row.run));
    link.run(sql, params![root, hash, run, int(row.bytes), row.at.ms(), text]).map(drop)
}

pub fn text(link: Link<'_>, root: &SessionKey, hash: Hash) -> Result<Option<String>, StoreError> {
    let sql = "select text from kept where root_key = ?1 and hash = ?2";
    link.row(sql, params![Text(root), Text(hash)], number)
}

/// All rows, without the texts.
pub fn all(link: Link<'_>) -> Result<Vec<Kept>, StoreError> {
    let sql = "select root_key, hash, run_id, bytes, at_ms from kept order by root_key, hash";
    link.rows(sql, [], read)
}

fn read(c: &mut Columns<'_, '_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        root_key: c.parsed()?,
        hash: c.parsed()?,
        run: c.parsed()?,
        bytes: c.count()?,
        at: c.time()?,
    })
}

/// Deletes what was kept before `before`, oldest first.
pub fn forget(link: Link<'_>, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
    let sql = "delete from kept where rowid in ( \
               select rowid from kept where at_ms < ?1 order by at_ms, root_key, hash limit ?2)";
    link.run(sql, params![before.ms(), limit])
}
