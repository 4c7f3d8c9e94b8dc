//! What a person is told of a conversation: its card, and numbered lists. From one snapshot.

use std::time::Duration;

use machine::Limits;
use machine::queue::{QueueMode, QueueWish};
use machine::rows::Outcome;
use protocol::message::ChatRole;
use store::StoreError;
use store::query::Query;
use store::view::{SessionFilter, SessionView, SpendFilter, SpendView, TaskFilter, TaskView};
use types::{AgentId, Footer, Reasoning, ScopeKind, SessionKey, SpendBy, TaskId, Timestamp};

use crate::configured::Title;
use crate::methods::sessions::full_row;
use crate::methods::{approvals, history, models, tasks};
use crate::view::{self, Excerpts, clip};

/// How long a task that has ended stays in the list of sub-agents. OpenClaw's time.
const RECENT: Duration = Duration::from_secs(30 * 60);

/// Rows of a list, and of what waits. A person reads no more, and can ask for one.
const ROWS_MAX: usize = 50;
const TASKS_SHOWN: usize = 5;
const WAITING_SHOWN: usize = 10;

/// Tasks that are counted.
const SCAN_MAX: usize = 10_000;

/// Longest excerpt of a text in a list, in characters.
const EXCERPT: usize = 100;

/// The gateway itself.
#[derive(Clone, Debug)]
pub struct Running {
    pub version: String,
    pub uptime_ms: u64,
}

/// The rows that are told of.
pub struct Card<'a> {
    pub rows: &'a dyn Query,
    pub limits: &'a Limits,
    pub now: Timestamp,
}

type Told<T> = Result<T, StoreError>;

/// A line about an agent.
pub fn agent(id: &AgentId, default: bool, title: &Title, model: &str) -> String {
    let name = title.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let what = title.description.as_ref().map(|what| format!(" - {what}")).unwrap_or_default();
    let default = if default { ", default" } else { "" };
    let model = if model.is_empty() { "no model" } else { model };
    format!("{id}{name}{default}: {model}{what}")
}

/// Whether thinking is shown.
pub fn reasoning(session: Option<&SessionView>) -> String {
    let level = session.map_or(Reasoning::Off, |session| session.reasoning);
    format!("Reasoning is {level}; set it with /reasoning on, off or stream.")
}

/// What was spent on something, on one line.
fn spent(what: &str, spent: &SpendView) -> String {
    let SpendView { usage, calls, cost, unpriced, estimated, .. } = spent;
    let mut line = format!(
        "{what}: {cost}, {calls} calls, {} tokens in ({} of them from the cache), {} out",
        usage.prompt(),
        usage.cache_read,
        usage.output
    );
    if *unpriced > 0 {
        line += &format!("; {unpriced} calls have no known price");
    }
    if *estimated > 0 {
        line += &format!("; {estimated} were cut, and are estimated");
    }
    line
}

impl Card<'_> {
    /// What was spent: on the conversation, on its tree, and by all today.
    pub fn usage(&self, key: &SessionKey, session: Option<&SessionView>) -> Told<String> {
        let root = session.map_or(key, |session| &session.root_key);
        let of = |by, subject: String| {
            let found = self.rows.spending(&SpendFilter::of(by, subject))?;
            Ok::<_, StoreError>(found.into_iter().next().unwrap_or_default())
        };
        let lines = [
            spent("this conversation", &of(SpendBy::Session, key.to_string())?),
            spent("with all below it", &of(SpendBy::Tree, root.to_string())?),
            spent("today, everything", &of(SpendBy::Day, self.now.day())?),
            format!(
                "under each answer: {}; /usage off|tokens|full sets it",
                session.map_or(Footer::Off, |session| session.footer)
            ),
        ];
        Ok(lines.join("\n"))
    }

    /// The plan that a session shows.
    fn plan(&self, session: &SessionView) -> Told<Option<String>> {
        Ok(view::progress_card(self.rows, session)?.map(|card| format!("plan:\n{card}")))
    }

    /// How the conversation stands.
    pub fn status(
        &self,
        key: &SessionKey,
        session: Option<&SessionView>,
        running: &Running,
    ) -> Told<String> {
        let up = Duration::from_millis(running.uptime_ms);
        let mut lines = vec![format!("Windlass {}, up for {}", running.version, span(up))];
        let Some(session) = session else {
            lines.push(format!("{key}: nothing has been said here yet."));
            return Ok(lines.join("\n"));
        };
        let excerpts = Excerpts { title: false, last_message: false };
        let row = full_row(self.rows, self.limits, self.now, session, excerpts)?;
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let label = session.label.as_ref().map(|label| format!(" \"{label}\"")).unwrap_or_default();
        lines.push(format!(
            "{key}{label}, {}, begun {} ago",
            session.session_id,
            span(self.now.since(session.created))
        ));
        let provider = row.model_provider.map(|name| format!("{name}/")).unwrap_or_default();
        let model = row.model.map_or("no model".to_owned(), |model| format!("{provider}{model}"));
        let window = row.context_tokens.unwrap_or(0);
        let share = (row.total_tokens * 100).checked_div(window).unwrap_or(0);
        let told = row
            .configured_context_tokens
            .map(|configured| format!("; its provider takes no more, {configured} are configured"));
        lines.push(format!(
            "model {model}, context {} of {window} tokens ({share} %){}",
            row.total_tokens,
            told.unwrap_or_default()
        ));
        lines.extend(session.newest_run().and_then(models::elsewhere));
        lines.extend(models::thinking_line(self.limits, session));
        lines.push(format!(
            "{}, last turn {}, task {}",
            word(&row.activity),
            word(&row.last_turn),
            word(&row.task_status)
        ));
        lines.push(word(&row.note));
        lines.push(format!("{}; {} waiting", self.mode(session), session.queued));
        lines.push(format!("sub-agents open: {}", session.open_children));
        lines.extend(approvals::waiting_line(self.rows, key, self.now)?);
        let usage = session.usage;
        lines.push(format!(
            "tokens: {} in, {} of them from the cache, {} out",
            usage.prompt(),
            usage.cache_read,
            usage.output
        ));
        lines.extend(self.plan(session)?);
        Ok(lines.join("\n"))
    }

    fn mode(&self, session: &SessionView) -> String {
        let of_config: QueueMode = self.limits.queue.mode;
        match session.queue.mode {
            Some(mode) => format!("queue {mode} (of this conversation)"),
            None => format!("queue {of_config} (messages.queue.mode)"),
        }
    }

    /// What waits, and what becomes of a message that comes now.
    pub fn queue(&self, session: Option<&SessionView>) -> Told<String> {
        let wish = session.map(|session| session.queue).unwrap_or_default();
        let queue = wish.over(&self.limits.queue);
        let own = if wish == QueueWish::default() { "" } else { " (of this conversation)" };
        let mut lines = vec![format!(
            "Current queue settings: mode={}, debounce={}ms, cap={}, drop={}{own}.",
            queue.mode,
            queue.debounce.as_millis(),
            queue.cap,
            queue.drop
        )];
        let Some(session) = session else { return Ok(lines.remove(0)) };
        let pending = history::pending(self.rows, session)?;
        if pending.total == 0 {
            lines.push("Nothing waits.".to_owned());
        }
        for (n, input) in pending.items.iter().take(WAITING_SHOWN).enumerate() {
            let words = input.message.words();
            lines.push(format!("{}. {}", n + 1, one_line(&words)));
        }
        let more = pending.total.saturating_sub(WAITING_SHOWN as u64);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        Ok(lines.join("\n"))
    }

    /// The named conversations of an agent, and what they are about.
    pub fn threads(&self, agent: &AgentId) -> Told<String> {
        let filter = SessionFilter {
            agent: Some(agent.clone()),
            kinds: vec![ScopeKind::Thread],
            limit: ROWS_MAX,
            ..SessionFilter::default()
        };
        let total = self.rows.count_sessions(&filter)?;
        let excerpts = Excerpts { title: true, last_message: false };
        let mut lines = Vec::new();
        for session in self.rows.sessions(&filter)? {
            let row = full_row(self.rows, self.limits, self.now, &session, excerpts)?;
            let about = session.label.clone().or(row.derived_title).unwrap_or_default();
            let ago = span(self.now.since(session.active));
            let activity = row.activity.unwrap_or_default();
            let lifecycle = row.lifecycle.filter(|word| word != "open");
            let activity = lifecycle.unwrap_or(activity);
            lines.push(format!(
                "{}: {} ({activity}, {ago} ago)",
                session.key.scope,
                one_line(&about)
            ));
        }
        if lines.is_empty() {
            return Ok(
                "There are no named conversations; name one with the key thread:<name>.".to_owned()
            );
        }
        if total > lines.len() as u64 {
            lines.push(format!("and {} more", total - lines.len() as u64));
        }
        Ok(lines.join("\n"))
    }

    /// The tasks that this conversation has asked for, the newest, with numbers.
    pub fn tasks(&self, key: &SessionKey) -> Told<(String, Vec<TaskId>)> {
        let requester = Some(key.clone());
        let filter = TaskFilter { requester, limit: SCAN_MAX, ..TaskFilter::default() };
        let tasks = self.rows.tasks(&filter)?;
        let active = tasks.iter().filter(|task| task.outcome.is_none()).count();
        let mut lines =
            vec![format!("Tasks of this conversation: {active} active, {} in all", tasks.len())];
        let mut listed = Vec::new();
        for task in tasks.iter().take(TASKS_SHOWN) {
            listed.push(task.id);
            lines.push(self.line(listed.len(), 0, task)?);
        }
        Ok((lines.join("\n"), listed))
    }

    /// The sub-agents below, open or ended lately, as trees with numbers.
    pub fn subagents(&self, key: &SessionKey) -> Told<(String, Vec<TaskId>)> {
        let recent = i64::try_from(RECENT.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp(self.now.ms().saturating_sub(recent));
        let all = tasks::below(self.rows, key, since, ROWS_MAX)?;
        let (mut lines, mut listed) = (Vec::new(), Vec::new());
        let top = all.iter().map(|task| task.depth).min().unwrap_or(0);
        for task in &all {
            listed.push(task.id);
            lines.push(self.line(listed.len(), (task.depth - top) as usize, task)?);
        }
        if lines.is_empty() {
            let none = "No sub-agents, nor any that have ended in the last 30 minutes.";
            return Ok((none.to_owned(), listed));
        }
        lines.insert(0, "Sub-agents, open or ended in the last 30 minutes:".to_owned());
        Ok((lines.join("\n"), listed))
    }

    fn line(&self, n: usize, indent: usize, task: &TaskView) -> Told<String> {
        let name = task.task_name.as_deref().or(task.label.as_deref()).unwrap_or("-");
        let words = tasks::stands(task, self.now);
        let error = task.run.as_ref().and_then(|run| run.error.clone());
        let error = error.map(|error| format!(": {}", one_line(&error))).unwrap_or_default();
        Ok(format!(
            "{:indent$}#{n} {name}  {words}{error}  {}",
            "",
            task.session_key,
            indent = indent * 2
        ))
    }

    /// All that is known of a task.
    pub fn info(&self, task: &TaskView) -> Told<String> {
        let run = self.rows.run(task.run_id)?;
        let session = self.rows.session(&task.session_key)?;
        let time = |at: Option<Timestamp>| {
            at.map_or("-".to_owned(), |at| format!("{} ago", span(self.now.since(at))))
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let result = match task.outcome {
            Some(Outcome::Completed) => self.rows.final_text(task.run_id)?,
            _ => None,
        };
        let mut lines = vec![
            format!("status: {}", tasks::stands(task, self.now)),
            format!("taskName: {}", text(&task.task_name)),
            format!("label: {}", text(&task.label)),
            format!("task: {} ({})", task.id, task.kind),
            format!("run: {}", task.run_id),
            format!("session: {}", task.session_key),
            format!("asked for by: {}", task.requester_key),
            format!("begun: {}", time(Some(task.created))),
            format!("ended: {}", time(task.ended)),
            format!("announce: {}, cleanup: {}", task.announce, task.cleanup),
        ];
        if let Some(session) = session {
            lines.push(format!("sub-agents of its own: {} open", session.open_children));
            lines.push(format!(
                "lifecycle: {}, waiting inputs: {}",
                session.lifecycle, session.queued
            ));
            lines.extend(self.plan(&session)?);
        }
        if let Some(run) = run {
            lines.push(format!("model: {}, {} tokens", run.facts.model, run.usage.total()));
            lines.extend(models::elsewhere(&run.facts));
            lines.extend(run.facts.error.map(|error| format!("error: {error}")));
        }
        lines.extend(result.map(|text| format!("result: {}", one_line(&text))));
        Ok(lines.join("\n"))
    }

    /// The end of a child's conversation, as plain lines.
    pub fn log(&self, task: &TaskView, limit: usize) -> Told<String> {
        let Some(run) = self.rows.run(task.run_id)? else {
            return Ok("It has not begun yet.".to_owned());
        };
        let page = self.rows.history(run.session_id, None, limit)?;
        let mut lines = Vec::new();
        for message in page.entries.iter().map(view::message) {
            let words = message.words();
            let who = match message.role {
                ChatRole::User => "User",
                ChatRole::Assistant => "Assistant",
                ChatRole::ToolResult => "Tool",
                ChatRole::System => "System",
            };
            let words = if words.is_empty() { "(calls tools)".to_owned() } else { words };
            lines.push(format!("{who}: {words}"));
        }
        if lines.is_empty() {
            return Ok("Nothing has been said there yet.".to_owned());
        }
        let shown = lines.len() as i64;
        if page.total > shown {
            lines.insert(0, format!("The newest {shown} of {} messages:", page.total));
        }
        Ok(lines.join("\n"))
    }
}

fn one_line(text: &str) -> String {
    clip(&text.split_whitespace().collect::<Vec<_>>().join(" "), EXCERPT)
}

/// A time as people say it, in its largest unit.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let told = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([told(0), told(119), told(120)], ["0 s", "119 s", "2 min"]);
        assert_eq!([told(7_199), told(7_200), told(172_800)], ["119 min", "2 h", "2 d"]);
    }

    #[test]
    fn an_agent_is_told_by_what_is_known_of_it() {
        let id: AgentId = "ops".parse().unwrap();
        let title = Title {
            name: Some("Operations".to_owned()),
            description: Some("looks after machines".to_owned()),
        };
        assert_eq!(
            agent(&id, true, &title, "stub/m"),
            "ops (Operations), default: stub/m - looks after machines"
        );
        assert_eq!(agent(&id, false, &Title::default(), ""), "ops: no model");
    }
}
