//! The tree of sessions as the database has it: lanes, activity, steps.

use machine::run::Phase;
use machine::status::Activity;
use runtime::Clock;
use store::view::{LaneView, SessionFilter, SessionView, TaskFilter, TaskView};
use store::{Reader, Reads};
use types::Timestamp;

/// Sessions and tasks that the demo can have.
const ROWS: usize = 100;

/// What there is to see at one moment.
#[derive(Debug)]
pub struct View {
    now: Timestamp,
    lanes: Vec<LaneView>,
    sessions: Vec<SessionView>,
    tasks: Vec<TaskView>,
    steps: Vec<u32>,
}

impl View {
    pub async fn read(reader: &Reader) -> anyhow::Result<View> {
        let mut sessions =
            reader.sessions(SessionFilter { limit: ROWS, ..SessionFilter::default() }).await?;
        sessions.sort_by_key(|session| (session.created, session.key.clone()));
        let tasks = reader.tasks(TaskFilter { limit: ROWS, ..TaskFilter::default() }).await?;
        let mut steps = Vec::new();
        for session in &sessions {
            let run = match session.newest_run() {
                Some(run) => reader.run(run.id).await?,
                None => None,
            };
            steps.push(run.map_or(0, |run| run.steps));
        }
        let now = runtime::SystemClock.now();
        Ok(View { now, lanes: reader.lanes().await?, sessions, tasks, steps })
    }

    fn activity(&self, session: &SessionView) -> Activity {
        session.words(self.now).activity
    }

    fn children(&self) -> impl Iterator<Item = &SessionView> {
        self.sessions.iter().filter(|session| session.depth > 0)
    }

    /// Are there children, and does every open one run?
    pub fn all_at_work(&self) -> bool {
        let open: Vec<&SessionView> =
            self.children().filter(|session| session.open_run.is_some()).collect();
        open.len() > 1 && open.iter().all(|session| self.activity(session) == Activity::Running)
    }

    /// Is nothing open any more?
    pub fn ended(&self) -> bool {
        !self.sessions.is_empty() && self.sessions.iter().all(|one| one.open_run.is_none())
    }

    /// Draws the tree.
    pub fn lines(&self) -> Vec<String> {
        let lanes = self.lanes.iter().map(|lane| {
            let queued = if lane.queued > 0 { format!(" +{}", lane.queued) } else { String::new() };
            format!("{} {}/{}{queued}", lane.name, lane.held, lane.capacity)
        });
        let mut lines = vec![format!("lanes    {}", lanes.collect::<Vec<_>>().join("   "))];
        for root in self.sessions.iter().filter(|session| session.depth == 0) {
            self.draw(root, "", "", &mut lines);
        }
        lines
    }

    fn draw(&self, session: &SessionView, branch: &str, indent: &str, lines: &mut Vec<String>) {
        let name = session.label.clone().unwrap_or_else(|| session.key.to_string());
        let name = format!("{branch}{name}");
        let place = self.sessions.iter().position(|other| other.key == session.key);
        let steps = place.map_or(0, |place| self.steps[place]);
        let tokens = session.usage.total();
        let doing = self.doing(session);
        lines.push(format!("{name:<28} {doing:<24} {steps:>2} steps {tokens:>7} tokens"));
        let below: Vec<&SessionView> = self
            .sessions
            .iter()
            .filter(|child| child.parent_key.as_ref() == Some(&session.key))
            .collect();
        for (i, child) in below.iter().enumerate() {
            let last = i + 1 == below.len();
            let branch = format!("{indent}{}", if last { "└─ " } else { "├─ " });
            let indent = format!("{indent}{}", if last { "   " } else { "│  " });
            self.draw(child, &branch, &indent, lines);
        }
    }

    /// What the session does, or how it has ended.
    fn doing(&self, session: &SessionView) -> String {
        let doing = self.activity(session);
        let newest = session.newest_run();
        match (doing, newest.map(|run| run.phase)) {
            (Activity::Idle, Some(Phase::Ended(outcome))) => {
                let task = self.tasks.iter().find(|task| task.session_key == session.key);
                match task {
                    Some(_) => format!("{outcome}, announced"),
                    None => outcome.to_string(),
                }
            }
            (Activity::Waiting, _) => match newest.and_then(|run| run.wait_kind) {
                Some(kind) => format!("waiting for {kind}"),
                None => doing.to_string(),
            },
            (Activity::Running, Some(phase)) => format!("running: {}", phase.word()),
            _ => doing.to_string(),
        }
    }
}
