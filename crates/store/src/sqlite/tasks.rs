//! Lists of tasks, in SQL: with those conditions only that are asked for, a page at a time.

use machine::rows::Task;
use rusqlite::params_from_iter;
use types::{AgentId, Timestamp};

use super::columns::{self, columns, int};
use super::link::Link;
use super::sessions::Conditions;
use crate::error::StoreError;
use crate::view::{Below, TaskFilter};

/// All that a session has asked for, with what that has asked for, and so on. By ids alone, which
/// are in the indexes.
const BELOW_SESSION: &str = "id in (with recursive below(id) as ( \
    select id from tasks where requester_key = ? \
    union select tasks.id from tasks join below on tasks.parent_id = below.id) \
    select id from below)";

const BELOW_TASK: &str = "id in (with recursive below(id) as ( \
    select id from tasks where parent_id = ? \
    union select tasks.id from tasks join below on tasks.parent_id = below.id) \
    select id from below)";

/// Tasks that `filter` wants, newest first.
pub fn list(link: Link<'_>, filter: &TaskFilter) -> Result<Vec<Task>, StoreError> {
    let Conditions { mut sql, mut values } = of(filter);
    sql.insert(0, "true".to_owned());
    values.push(int(filter.limit as u64).into());
    let statement = format!(
        "select {} from tasks where {} order by id desc limit ?{}",
        columns!(tasks),
        sql.join(" and "),
        values.len()
    );
    link.rows(&statement, params_from_iter(values), columns::task)
}

fn of(filter: &TaskFilter) -> Conditions {
    let text = |text: &dyn ToString| text.to_string();
    let mut all = Conditions::default();
    all.add_if("root_key = ?", filter.root.as_ref().map(|key| text(key)));
    all.add_if("requester_key = ?", filter.requester.as_ref().map(|key| text(key)));
    let session = filter.session.as_ref().map(|key| text(key));
    all.add_if("(requester_key = ? or session_key = ?)", session);
    all.add_if("kind = ?", filter.kind.map(|kind| kind.as_str().to_owned()));
    all.add_if("id < ?", filter.before.as_ref().map(|id| text(id)));
    all.add_if("(ended_ms is null or ended_ms >= ?)", filter.ended_since.map(Timestamp::ms));
    if let Some(agent) = &filter.agent {
        let (first, behind) = keys_of(agent);
        all.add("session_key >= ?", first);
        all.add("session_key < ?", behind);
    }
    match &filter.below {
        Some(Below::Session(key)) => all.add(BELOW_SESSION, text(key)),
        Some(Below::Task(id)) => all.add(BELOW_TASK, text(id)),
        None => {}
    }
    if filter.open_only {
        all.sql.push("ended_ms is null".to_owned());
    }
    if let Some(ends) = &filter.ends {
        // Words of our own: none of them has a quote in it.
        let words: Vec<String> = ends.outcomes.iter().map(|word| format!("'{word}'")).collect();
        let words = words.join(", ");
        all.sql.push(match ends.open {
            true => format!("(ended_ms is null or outcome in ({words}))"),
            false => format!("outcome in ({words})"),
        });
    }
    all
}

/// Keys of an agent's sessions all begin alike: the first there may be, and the first behind them.
fn keys_of(agent: &AgentId) -> (String, String) {
    (format!("agent:{agent}:"), format!("agent:{agent};"))
}
