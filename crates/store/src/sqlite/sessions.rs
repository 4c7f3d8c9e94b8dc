//! Lists and counts of sessions, in SQL: with those conditions only that are asked for, so that
//! each can use its index.

use machine::rows::{Episode, Lifecycle};
use machine::run::Phase;
use machine::status::{Activity, activity};
use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};
use types::{AgentId, SessionId, SessionKey, Timestamp};

use super::approvals;
use super::columns::{self, Columns, Text, columns, int};
use super::link::{Link, Read};
use crate::error::StoreError;
use crate::view::{SessionFilter, Tally, TranscriptView};

/// Transcripts of a session that is not deleted, newest first. What was before its birth belongs to
/// a conversation that was deleted.
pub fn transcripts(
    link: Link<'_>,
    session: &SessionKey,
    limit: usize,
) -> Result<Vec<TranscriptView>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(transcripts),
        " from transcripts where session_key = ?1 \
             and exists (select 1 from sessions where key = ?1 and deleted_ms is null \
                         and (ended_ms is null or ended_ms > created_ms)) \
             order by ended_ms is not null, started_ms desc, session_id desc limit ?2"
    );
    let params = params![Text(session), int(limit as u64)];
    let rows = link.rows(sql, params, columns::transcript)?;
    Ok(rows.into_iter().map(TranscriptView::new).collect())
}

/// The present episode of a transcript.
pub fn newest_episode(link: Link<'_>, session: SessionId) -> Result<Option<Episode>, StoreError> {
    let sql = concat!(
        "select ",
        columns!(episodes),
        " from episodes where session_id = ?1 order by n desc limit 1"
    );
    link.row(sql, params![Text(session)], columns::episode)
}

/// Conditions and their values, in the order of the placeholders.
#[derive(Debug, Default)]
pub struct Conditions {
    pub sql: Vec<String>,
    pub values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition; each `?` in it stands for the one value.
    pub fn add(&mut self, sql: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.sql.push(sql.replace('?', &format!("?{}", self.values.len())));
    }

    pub fn add_if(&mut self, sql: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(sql, value);
        }
    }

    fn of(filter: &SessionFilter) -> Conditions {
        let mut all = Conditions::default();
        all.sql.push("deleted_ms is null".to_owned());
        all.add_if("agent = ?", filter.agent.as_ref().map(|agent| agent.as_str().to_owned()));
        all.add_if("owner = ?", filter.owner.clone());
        all.add_if("active_ms >= ?", filter.active_since.map(Timestamp::ms));
        all.add_if("parent_key = ?", filter.parent.as_ref().map(ToString::to_string));
        all.add_if("session_id = ?", filter.session_id.map(|id| id.to_string()));
        all.add_if("label = ?", filter.label.clone());
        let search = filter.search.as_ref().map(|text| text.to_ascii_lowercase());
        all.add_if("(instr(lower(key), ?) > 0 or instr(lower(label), ?) > 0)", search);
        all.add_if("lifecycle = ?", filter.lifecycle.map(Lifecycle::as_str).map(str::to_owned));
        if filter.open_only {
            all.sql.push("open_run is not null".to_owned());
        }
        if !filter.kinds.is_empty() {
            // Words of our own: none of them has a quote in it.
            let words: Vec<String> = filter.kinds.iter().map(|kind| format!("'{kind}'")).collect();
            all.sql.push(format!("kind in ({})", words.join(", ")));
        }
        all
    }
}

/// Puts a question to the sessions that `filter` wants: to a page of them (limit, offset), most
/// recently active first, or to all at once.
pub fn asked<T>(
    link: Link<'_>,
    select: &str,
    filter: &SessionFilter,
    page: Option<(usize, usize)>,
    read: Read<T>,
) -> Result<Vec<T>, StoreError> {
    let (sql, values) = statement(select, filter, page);
    link.rows(&sql, params_from_iter(values), read)
}

fn statement(
    select: &str,
    filter: &SessionFilter,
    page: Option<(usize, usize)>,
) -> (String, Vec<Value>) {
    let Conditions { mut sql, mut values } = Conditions::of(filter);
    let mut order = String::new();
    if let Some((limit, offset)) = page {
        // All are, and SQLite goes through the index by it, up to the end of the page. Without it,
        // it was seen to read and sort a table of 100,000.
        sql.push("active_ms >= 0".to_owned());
        let n = values.len();
        order = format!(" order by active_ms desc, key limit ?{} offset ?{}", n + 1, n + 2);
        values.extend([int(limit as u64).into(), int(offset as u64).into()]);
    }
    (format!("{select} where {}{order}", sql.join(" and ")), values)
}

/// How many sessions `filter` wants, whatever its page. All of them, or all of an agent, are
/// counted as they come and go.
pub fn count(link: Link<'_>, filter: &SessionFilter) -> Result<u64, StoreError> {
    let (agent, (limit, offset)) = (filter.agent.clone(), (filter.limit, filter.offset));
    if *filter == (SessionFilter { agent, limit, offset, ..SessionFilter::default() }) {
        let agent = filter.agent.as_ref().map(AgentId::as_str);
        return known(link, "session", agent);
    }
    let counted = asked(link, "select count(*) from sessions", filter, None, |c| c.count())?;
    Ok(counted.first().copied().unwrap_or(0))
}

/// A sum of what is counted as it comes and goes: of an agent, or of all.
fn known(link: Link<'_>, what: &str, agent: Option<&str>) -> Result<u64, StoreError> {
    let sql = "select coalesce(sum(n), 0) from counts \
               where what = ?1 and (?2 is null or agent = ?2)";
    Ok(link.row(sql, params![what, agent], |c| c.count())?.unwrap_or(0))
}

/// Counts that are not what is there, in words.
pub fn miscounted(link: Link<'_>) -> Result<Vec<String>, StoreError> {
    let sql = "with there as ( \
                 select 'session' as what, agent, count(*) as n from sessions \
                 where deleted_ms is null group by agent \
                 union all select 'task', '', count(*) from tasks) \
               select 'counted are ' || coalesce(counts.n, 0) || ' ' || what || 's ' || agent \
                 || ', and there are ' || coalesce(there.n, 0) \
               from there full join counts using (what, agent) \
               where coalesce(counts.n, 0) <> coalesce(there.n, 0)";
    link.rows(sql, [], |c| c.get::<String>())
}

/// How much there is of everything, at `now`.
pub fn tally(link: Link<'_>, now: Timestamp) -> Result<Tally, StoreError> {
    let count = |sql: &str| link.row(sql, [], |c| c.count()).map(Option::unwrap_or_default);
    let (approvals, approval_since) = approvals::waiting(link)?;
    let tasks_open = count("select count(*) from tasks where ended_ms is null")?;
    Ok(Tally {
        sessions: known(link, "session", None)?,
        tasks_open,
        tasks_ended: known(link, "task", None)?.saturating_sub(tasks_open),
        dead_letters: count("select count(*) from inbox where state = 'dead'")?,
        approvals,
        approval_since,
        ..runs_by_phase(link, now)?
    })
}

/// Open runs, counted by what they do at `now`.
fn runs_by_phase(link: Link<'_>, now: Timestamp) -> Result<Tally, StoreError> {
    let sql = "select phase, wait_kind, outcome, exists (select 1 from nodes \
               where nodes.id = runs.node_id and nodes.state <> 'down' \
               and nodes.lease_until_ms > ?1) as live, count(*) \
               from runs where ended_ms is null group by phase, wait_kind, live";
    let mut tally = Tally::default();
    for (phase, live, count) in link.rows(sql, [now.ms()], counted)? {
        *match activity(Some(phase), live) {
            Activity::Idle => continue,
            Activity::Queued => &mut tally.runs_queued,
            Activity::Running => &mut tally.runs_running,
            Activity::Waiting => &mut tally.runs_waiting,
            Activity::Recovering => &mut tally.runs_recovering,
        } += count;
    }
    Ok(tally)
}

fn counted(c: &mut Columns<'_, '_>) -> rusqlite::Result<(Phase, bool, u64)> {
    Ok((c.phase()?, c.get()?, c.count()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::open;

    const SELECT: &str = concat!("select ", columns!(sessions), " from sessions");

    /// A list of fifty takes as long with a hundred thousand sessions as with a hundred.
    #[test]
    fn a_page_is_read_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.db");
        let writer = open::writer(&path, None).unwrap();
        let many = "with recursive n(n) as (select 1 union all select n + 1 from n where n < 9999) \
                    insert into sessions (key, session_id, agent, owner, root_key, depth, \
                                          lifecycle, rev, created_ms, active_ms, kind) \
                    select 'agent:main:thread:' || n, n, 'main', 'ann', \
                           'agent:main:thread:' || n, 0, 'open', 1, n, n, 'thread' from n";
        writer.execute_batch(many).unwrap();
        let reader = open::reader(&path).unwrap();
        let all = SessionFilter::default;
        #[rustfmt::skip]
        let table = [
            (all(),                                                              "by_active"),
            (SessionFilter { agent: Some(AgentId::main()), ..all() },            "by_active"),
            (SessionFilter { kinds: SessionFilter::all_but(&[]), ..all() },      "by_active"),
            (SessionFilter { lifecycle: Some(Lifecycle::Open), ..all() },        "by_active"),
            (SessionFilter { active_since: Some(Timestamp(5)), ..all() },        "by_active"),
            (SessionFilter { open_only: true, ..all() },                         "busy"),
            (SessionFilter { label: Some("x".to_owned()), ..all() },             "labelled"),
        ];
        for (filter, index) in table {
            let (sql, values) = statement(SELECT, &filter, Some((50, 0)));
            let mut plan = reader.prepare(&format!("explain query plan {sql}")).unwrap();
            let steps = plan.query_map(params_from_iter(values), |row| row.get(3)).unwrap();
            let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
            assert!(steps[0].contains(&format!("INDEX sessions_{index}")), "{filter:?}: {steps:?}");
        }
    }
}
