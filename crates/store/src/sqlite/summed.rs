//! The ledger of a gateway, added up once: the next question adds what has come since.

use std::sync::{Mutex, PoisonError};

use super::ask::{LEDGER_SUM, ledger_total};
use super::columns::number;
use super::link::Link;
use crate::error::StoreError;
use crate::view::LedgerTotal;

/// The sum of the ledger up to a row. Rows are never changed nor deleted, and their numbers only
/// grow, so it stays true.
#[derive(Debug, Default)]
pub struct Summed(Mutex<(i64, LedgerTotal)>);

impl Summed {
    /// The sum of all rows that a snapshot has.
    pub fn all(&self, link: Link<'_>) -> Result<LedgerTotal, StoreError> {
        let newest = link.row("select max(id) from ledger", [], number::<Option<i64>>)?;
        let newest = newest.flatten().unwrap_or(0);
        let (mut known, mut total) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known > newest {
            // Another reader has a younger snapshot than this one.
            (known, total) = (0, LedgerTotal::default());
        }
        let sql = format!("{LEDGER_SUM} where id > ?1 and id <= ?2");
        let more = link.row(&sql, [known, newest], ledger_total)?.unwrap_or_default();
        total.usage += more.usage;
        total.rows += more.rows;
        total.estimated += more.estimated;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest > kept.0 {
            *kept = (newest, total);
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::sqlite::open;

    #[test]
    fn what_has_come_since_is_added_and_an_older_snapshot_is_added_up_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.db");
        let writer = open::writer(&path, None).unwrap();
        let (early, late) = (open::reader(&path).unwrap(), open::reader(&path).unwrap());
        let book = |step: u32| {
            let sql = "insert into ledger (run_id, step_n, session_key, session_id, agent, \
                       root_key, model, input, output, cache_read, cache_write, estimated, at_ms) \
                       values ('r', ?1, 's', 'i', 'a', 's', 'm', 3, 2, 1, 0, ?1 % 2, 1)";
            writer.execute(sql, [step]).unwrap();
        };
        let summed = Summed::default();
        let all = |connection: &Connection| summed.all(Link { connection, path: &path }).unwrap();

        assert_eq!(all(&late), LedgerTotal::default());
        book(1);
        early.execute_batch("begin").unwrap();
        assert_eq!(all(&early).rows, 1);
        book(2);
        book(3);
        let total = all(&late);
        assert_eq!((total.rows, total.estimated, total.usage.input), (3, 2, 9));
        assert_eq!(all(&early).rows, 1, "a snapshot has what it had");
        assert_eq!(all(&late), total);
    }
}
