//! What a person does with a conversation as a whole: begin it anew, change it, put it away.
//!
//! The key stays, whatever becomes of the conversation; a session id names one transcript of it.
//!
//! | change | a run that is open | its children | the transcript |
//! |---|---|---|---|
//! | reset | is stopped | are stopped | ends; another begins under the key |
//! | patch | goes on; its next call is by what holds now | go on | goes on |
//! | compact | goes on | go on | goes on, and less of it is shown to the model |
//! | archive | must be over | must be over | is kept, and read only |
//! | restore | - | - | goes on |
//! | delete | is stopped | are stopped | is in no list any more |

use types::{Access, Footer, Reasoning, SessionId, SessionKey, Thinking};

use crate::archive::{archive_session, reopen, restore_session};
use crate::context;
use crate::effect::{Answer, Changed, Notice, Refusal, Stopped};
use crate::event::{Change, Patch};
use crate::failover;
use crate::policy;
use crate::queue::{QueueMode, QueueWish};
use crate::reply;
use crate::rows::{
    EndReason, Episode, EpisodeReason, Gauge, InboxState, Lifecycle, Task, TimerKind, Transcript,
};
use crate::state::State;
use crate::status::TaskStatus;
use crate::stop;

/// Does what a person or a program asks for.
pub fn change(state: &mut State<'_>, key: &SessionKey, by: &str, change: &Change) -> Answer {
    if let Change::Compact { origin, hint } = change {
        return match compact(state, key, origin, hint) {
            Ok(words) => Answer::Ordered(words),
            Err(refusal) => Answer::Refused(refusal),
        };
    }
    match try_change(state, key, by, change) {
        Ok(stopped) => {
            let session_id = state.session(key).session_id;
            let session = key.clone();
            Answer::Changed(Changed { session, session_id, stopped })
        }
        Err(refusal) => Answer::Refused(refusal),
    }
}

/// Takes an order to compact an open session.
pub fn compact(
    state: &mut State<'_>,
    key: &SessionKey,
    origin: &str,
    hint: &str,
) -> Result<String, Refusal> {
    let found = state.find_session(key).filter(|session| session.deleted.is_none());
    match found.map(|session| session.lifecycle) {
        None => Err(Refusal::SessionNotFound(key.clone())),
        Some(Lifecycle::Archived) => Err(Refusal::SessionArchived(key.clone())),
        Some(Lifecycle::Open) => context::order(state, key, origin, hint),
    }
}

fn try_change(
    state: &mut State<'_>,
    key: &SessionKey,
    by: &str,
    change: &Change,
) -> Result<Stopped, Refusal> {
    let found = state.find_session(key).filter(|session| session.deleted.is_none());
    let Some(lifecycle) = found.map(|session| session.lifecycle) else {
        return Err(Refusal::SessionNotFound(key.clone()));
    };
    let open = lifecycle == Lifecycle::Open;
    match change {
        Change::Reset(reason) if open => Ok(reset(state, key, *reason, by)),
        Change::Patch(wanted) if open => patch(state, key, wanted).map(|()| Stopped::default()),
        Change::Reset(_) | Change::Patch(_) | Change::Compact { .. } => {
            Err(Refusal::SessionArchived(key.clone()))
        }
        Change::Archive => archive_session(state, key, by).map(|_| Stopped::default()),
        Change::Restore => restore_session(state, key, by).map(|_| Stopped::default()),
        Change::Delete => Ok(delete(state, key, by)),
    }
}

/// Ends the transcript of a session and begins another. What runs is stopped first, with all
/// children, and what still waits in the inbox is cancelled: it belonged to the old conversation.
pub fn reset(state: &mut State<'_>, key: &SessionKey, reason: EndReason, by: &str) -> Stopped {
    let was_open = state.session(key).lifecycle == Lifecycle::Open;
    let stopped = stop::stop_all(state, key, by);
    forget_queued(state, key);
    begin_transcript(state, key, reason);
    if was_open && state.session(key).lifecycle == Lifecycle::Archived {
        // With its task a child is thrown away, unless somebody goes on with it: here, a person.
        reopen(state, key, by);
    }
    let session = state.session_mut(key);
    session.declared = None;
    session.rev += 1;
    note(state, key, reason.as_str());
    stopped
}

/// Changes what is given. The run that is open goes on, with its next call to the model that is
/// chosen then.
pub fn patch(state: &mut State<'_>, key: &SessionKey, patch: &Patch) -> Result<(), Refusal> {
    let model = match &patch.model {
        Some(Some(name)) => {
            Some(Some(state.limits.model_named(name).map_err(Refusal::UnknownModel)?))
        }
        Some(None) => Some(None),
        None => None,
    };
    if let Some(Some(word)) = patch.declared {
        // It would say that work is in progress where nobody works.
        if word == TaskStatus::InProgress {
            return Err(Refusal::NotDeclarable);
        }
        if state.session(key).open_run.is_some() {
            return Err(Refusal::RunOpen(key.clone()));
        }
    }
    let Patch { label, thinking, queue, declared, reasoning, footer, .. } = patch.clone();
    let session = state.session_mut(key);
    if let Some(label) = label {
        session.label = label;
    }
    if let Some(thinking) = thinking {
        session.thinking = thinking;
    }
    if let Some(wish) = queue {
        session.queue = wish.map_or_else(QueueWish::default, |new| session.queue.changed_by(new));
    }
    if let Some(declared) = declared {
        session.declared = declared;
    }
    if let Some(reasoning) = reasoning {
        session.reasoning = reasoning;
    }
    session.footer = footer.unwrap_or(session.footer);
    session.rev += 1;
    if let Some(model) = model {
        session.model = model;
        failover::on_chosen(state, key);
    }
    note(state, key, "patch");
    Ok(())
}

/// Takes a session out of sight for good. Its rows stay, because tasks, runs and the ledger name
/// them; its key is free for another conversation.
fn delete(state: &mut State<'_>, key: &SessionKey, by: &str) -> Stopped {
    let stopped = stop::stop_all(state, key, by);
    forget_queued(state, key);
    let now = state.now();
    let session = state.session_mut(key);
    session.lifecycle = Lifecycle::Archived;
    session.archived.get_or_insert(now);
    session.deleted = Some(now);
    session.rev += 1;
    state.clear_timer(TimerKind::Archive, key);
    note(state, key, "delete");
    stopped
}

/// Begins a conversation under the key of one that was deleted: of that, nothing is left but the
/// key and its place in the tree.
pub fn begin_again(state: &mut State<'_>, key: &SessionKey, owner: &str) {
    begin_transcript(state, key, EndReason::New);
    let now = state.now();
    let session = state.session_mut(key);
    session.lifecycle = Lifecycle::Open;
    (session.archived, session.deleted) = (None, None);
    (session.label, session.model, session.cwd) = (None, None, None);
    session.thinking = None;
    (session.declared, session.queue) = (None, QueueWish::default());
    (session.reasoning, session.footer) = (Reasoning::Off, Footer::Off);
    // What a spawn once left it was for that task: whoever begins now has a session like any other.
    (session.access, session.pool_key) = (Access::Full, None);
    session.owner = owner.to_owned();
    (session.created, session.active) = (now, now);
    session.rev += 1;
    policy::renew(state, key);
}

/// Would the result of this task come into a conversation that has not asked for it? Whoever asked
/// was reset or deleted, which has stopped the task.
pub fn is_forgotten(state: &mut State<'_>, task: &Task) -> bool {
    let Some(stopped) = task.cancelled else { return false };
    let Some(session) = state.find_session(&task.requester_key) else { return false };
    let (session_id, born, deleted) = (session.session_id, session.created, session.deleted);
    let begun = state.transcript(&session_id).started;
    deleted.is_some_and(|deleted| stopped <= deleted)
        || stopped < begun
        || (stopped == begun && born < begun)
}

fn begin_transcript(state: &mut State<'_>, key: &SessionKey, reason: EndReason) {
    let now = state.now();
    let old = state.session(key).session_id;
    state.transcript_mut(&old).ended = Some((now, reason));
    let session_id = SessionId::new(state.at.mint());
    add_transcript(state, key, session_id);
    let session = state.session_mut(key);
    session.session_id = session_id;
    session.card = None;
}

/// Adds an empty transcript with its first episode.
pub fn add_transcript(state: &mut State<'_>, key: &SessionKey, session_id: SessionId) {
    let now = state.now();
    state.add_transcript(Transcript {
        session_id,
        session_key: key.clone(),
        next_seq: 1,
        episode: 1,
        context_tokens: 0,
        gauge: Gauge::default(),
        base: None,
        started: now,
        ended: None,
    });
    state.add_episode(Episode {
        session_id,
        n: 1,
        first_seq: 1,
        reason: EpisodeReason::Start,
        head: None,
        anchor: None,
        clip: None,
        prefix_hash: None,
        prefix_tokens: 0,
        pinned: None,
        at: now,
    });
}

/// Cancels all that waits in a session, results of children too.
fn forget_queued(state: &mut State<'_>, key: &SessionKey) {
    let limit = state.limits.inbox_rows_max();
    let now = state.now();
    for seq in state.tx().queued_rows(key, limit) {
        let row = state.inbox_mut(&seq);
        row.state = InboxState::Cancelled;
        row.done = Some(now);
        reply::undeliverable(state, seq, "the conversation was ended before it had read it", false);
    }
}

fn note(state: &mut State<'_>, key: &SessionKey, what: &'static str) {
    state.notices.push(Notice::SessionChanged { session: key.clone(), what });
}

impl Patch {
    /// What has been changed, for a person.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        match self.queue {
            Some(Some(wish)) => words.extend(wanted(wish)),
            Some(None) => words.push("Messages are queued as messages.queue says.".to_owned()),
            None => {}
        }
        for (name, value) in [("label", &self.label), ("model", &self.model)] {
            if let Some(value) = value {
                words.push(format!("{name}: {}.", value.as_deref().unwrap_or("default")));
            }
        }
        if let Some(level) = self.thinking {
            words.push(format!("thinking: {}.", level.map_or("default", Thinking::as_str)));
        }
        if let Some(declared) = self.declared {
            let word = declared.map_or("as its runs end", TaskStatus::as_str);
            words.push(format!("task status: {word}."));
        }
        words.extend(self.reasoning.map(|reasoning| {
            match reasoning {
                Reasoning::Off => "What the model thinks is not shown.",
                Reasoning::On => "What the model thinks is shown before what it says.",
                Reasoning::Stream => "What the model thinks is shown as it comes.",
            }
            .to_owned()
        }));
        words.extend(self.footer.map(|footer| {
            match footer {
                Footer::Off => "What an answer took is not shown.",
                Footer::Tokens => "Under each answer stand the tokens that it took.",
                Footer::Full => "Under each answer stands what it took, and what it has cost.",
            }
            .to_owned()
        }));
        if words.is_empty() { "Nothing is changed.".to_owned() } else { words.join(" ") }
    }
}

/// What is changed of a queue, a sentence for each thing.
fn wanted(wish: QueueWish) -> Vec<String> {
    let QueueWish { mode, debounce_ms, cap, drop } = wish;
    let mode =
        mode.map(|mode| format!("A message while this conversation is busy: {}.", means(mode)));
    let debounce = debounce_ms.map(|ms| format!("Messages are collected for {ms} ms."));
    let cap = cap.map(|cap| format!("At most {cap} wait."));
    let drop = drop.map(|drop| format!("When it is full: {drop}."));
    [mode, debounce, cap, drop].into_iter().flatten().collect()
}

fn means(mode: QueueMode) -> &'static str {
    match mode {
        QueueMode::Steer => "steer (it enters the run at its next step)",
        QueueMode::Followup => "followup (it gets a run of its own, later)",
        QueueMode::Collect => "collect (it is merged with others into one later run)",
        QueueMode::Interrupt => "interrupt (it ends the run and takes its place)",
    }
}
