//! What has really happened, beside the rows: which conversations models were asked about, which
//! tools were begun, what was stopped. Sentences about it are checked as it happens.

use std::collections::{BTreeMap, BTreeSet};

use machine::check::EntryHead;
use machine::context::CALLS_MAX;
use machine::effect::{Accepted, ModelCall, Stopped, ToolStart};
use machine::event::{Act, Change, PlannedCall};
use machine::queue::QueueMode;
use machine::rows::{EntryKind, InboxKind, InboxState, Outcome, Place, Purpose, StepState};
use machine::{Action, Answer, Event, Notice};
use types::{EffectClass, FailureClass, RunId, SessionId, SessionKey, TaskId, Timestamp};

use crate::commit::Done;
use crate::disk::Disk;
use crate::world::Post;

/// What a model is asked about: so many entries of a transcript, in one episode, for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conversation {
    session_id: SessionId,
    episode: u32,
    purpose: Purpose,
    last: i64,
}

/// What is known beside the rows.
#[derive(Debug, Default)]
pub struct Truth {
    /// Calls of each answer, by its model step.
    pub planned: BTreeMap<(RunId, u32), Vec<PlannedCall>>,
    /// What each model step was asked about.
    asked: BTreeMap<(RunId, u32), Conversation>,
    /// Conversations whose answer has been committed.
    answered: BTreeSet<Conversation>,
    /// Calls of each run since its last answer that were about the size of its conversation.
    sized: BTreeMap<RunId, u32>,
    started: BTreeMap<(RunId, u32), u32>,
    /// Lives of runs whose prefix was decided on again.
    pub pinned_again: BTreeSet<(RunId, i64)>,
    /// Runs below a stop that has been committed.
    pub stopped: BTreeSet<RunId>,
    /// Sessions that a person has stopped.
    pub stopped_sessions: BTreeSet<SessionKey>,
    pub ended: BTreeMap<RunId, Outcome>,
    /// Final texts as people see them.
    pub delivered: Vec<String>,
    ended_tasks: BTreeSet<TaskId>,
    /// The next number of each transcript, when its end was seen.
    ended_transcripts: BTreeMap<SessionId, i64>,
    /// What was found of what a run had to hand in, by its last look at each answer.
    pub checked: BTreeMap<(RunId, u32), bool>,
    /// Tasks whose result a person was told, and where.
    pub told: BTreeMap<TaskId, SessionKey>,
    /// Rows that were deleted, as far as they have been looked at.
    forgotten: usize,
}

impl Truth {
    /// Looks at a commit: who was answered what, what it begins.
    pub fn observe(&mut self, disk: &Disk, posts: &[Post], done: &Done, was_draining: bool) {
        self.ended_stay(disk);
        for action in &done.actions {
            let begins = match action {
                Action::Pin { run, .. } => Some(*run),
                Action::CallModel(call) => Some(call.run),
                Action::StartTool(start) => Some(start.run),
                Action::Check(check) => Some(check.run),
                Action::Abort { .. } | Action::Prove { .. } => None,
            };
            let Some(run) = begins else { continue };
            assert!(!self.stopped.contains(&run), "I8: {action:?} after a stop above it");
            assert!(!was_draining, "{action:?} while the gateway drains");
        }
        for notice in &done.notices {
            self.note(disk, notice, was_draining);
        }
        for (post, answer) in posts.iter().zip(&done.answers) {
            match (&post.event, answer) {
                (Event::ModelReplied { run, step, .. }, Answer::Done) => {
                    let conversation = self.asked[&(*run, *step)];
                    // A summary that another model has written is not taken: it is asked for again.
                    let other = disk.run_row(*run).and_then(|run| run.error_class);
                    let other = other == Some(FailureClass::WrongModel);
                    let taken = !other || conversation.purpose != Purpose::Summary;
                    let first = !taken || self.answered.insert(conversation);
                    assert!(first, "I6: the answer to {conversation:?} is committed twice");
                    self.sized(*run, true);
                    if conversation.purpose == Purpose::Reply {
                        self.sized.remove(run);
                    }
                }
                (Event::ModelFailed { run, step, failure, .. }, Answer::Done) => {
                    use FailureClass as C;

                    let purpose = self.asked[&(*run, *step)].purpose;
                    let odd = matches!(
                        failure.class,
                        C::BadRequest | C::InvalidReply | C::Network | C::Internal
                    );
                    let own = failure.class == C::Overflow || odd && purpose != Purpose::Reply;
                    self.sized(*run, own);
                }
                (Event::Change { session, change, .. }, Answer::Changed(changed)) => {
                    if matches!(change, Change::Reset(_) | Change::Delete) {
                        self.stopped_sessions.insert(session.clone());
                    }
                    self.note_stop(disk, &changed.stopped);
                }
                (Event::Command(command), Answer::Commanded(told)) => {
                    if matches!(command.act, Act::Stop | Act::Reset { .. }) {
                        self.stopped_sessions.insert(command.session.clone());
                    }
                    self.note_stop(disk, &told.stopped);
                }
                (Event::MessageReceived(message), Answer::Accepted(accepted))
                    if message.mode == Some(QueueMode::Interrupt) && !accepted.duplicate =>
                {
                    comes_next(disk, accepted);
                }
                (event, Answer::Stopped(stopped)) => {
                    if let Event::Stop { session, .. } = event {
                        self.stopped_sessions.insert(session.clone());
                    }
                    self.note_stop(disk, stopped);
                }
                _ => {}
            }
        }
    }

    /// From one answer to the next a conversation may be too long, be noted, be summarised and be
    /// refused again: it makes so many calls, and no more.
    fn sized(&mut self, run: RunId, counts: bool) {
        let calls = self.sized.entry(run).or_default();
        *calls += u32::from(counts);
        assert!(*calls <= CALLS_MAX, "{run} has made {calls} calls, and has no answer");
    }

    /// A transcript that has ended gets no entry any more.
    fn ended_stay(&mut self, disk: &Disk) {
        for transcript in disk.world.transcripts.iter().filter(|row| row.ended.is_some()) {
            let (id, next) = (transcript.session_id, transcript.next_seq);
            let at_end = *self.ended_transcripts.entry(id).or_insert(next);
            assert_eq!(next, at_end, "S1: {id} has ended, and has got an entry");
        }
    }

    /// What is deleted was kept long enough, and nobody will ask for it again: it has been taken in
    /// or will never be, by a run that has ended, for a task that has.
    pub fn forgets_well(&mut self, disk: &Disk, kept_since: Timestamp) {
        for row in &disk.forgotten[self.forgotten..] {
            let old = row.done.is_some_and(|done| done < kept_since);
            assert!(old, "R1: {row:?} is deleted too soon: {kept_since}");
            let over = row.run.is_none_or(|run| self.ended.contains_key(&run));
            assert!(over, "R1: {row:?} is deleted before its run has ended");
            let mut tasks = disk.world.tasks.iter();
            let open = tasks.any(|task| Some(task.id) == row.task && task.outcome.is_none());
            assert!(!open, "R1: {row:?} is deleted before its task has ended");
            let entered = disk.entered.contains(&row.seq);
            let done = match row.state {
                InboxState::Consumed => entered,
                InboxState::Dropped | InboxState::Cancelled => !entered,
                InboxState::Queued | InboxState::Dead => false,
            };
            assert!(done, "R1: {row:?} is deleted and not done with");
            let mut steps = disk.world.steps.iter();
            let waits = steps
                .find(|step| step.waits_on == Some(row.id) && step.state == StepState::Waiting);
            assert!(waits.is_none(), "R1: {waits:?} waits for {row:?}, which is deleted");
        }
        self.forgotten = disk.forgotten.len();
    }

    fn note(&mut self, disk: &Disk, notice: &Notice, was_draining: bool) {
        match notice {
            Notice::RunStarted { run, .. } => {
                assert!(!was_draining, "{run} is admitted while the gateway drains");
            }
            Notice::Told { session, task: Some(task), .. } => {
                let before = self.told.insert(*task, session.clone());
                assert_eq!(before, None, "a person is told of {task} twice");
            }
            Notice::RunEnded(end) => {
                let before = self.ended.insert(end.run, end.outcome);
                assert_eq!(before, None, "{} ends twice", end.run);
                let depth = disk.world.sessions.iter().find(|s| s.key == end.session);
                if depth.is_some_and(|session| session.depth == 0) {
                    self.delivered.extend(end.text.clone());
                }
            }
            Notice::TaskEnded { task, outcome, child, .. } => {
                assert!(self.ended_tasks.insert(*task), "I4: {task} ends twice");
                if matches!(outcome, Outcome::Completed | Outcome::NoResult) {
                    climbs(disk, *task, child);
                }
            }
            _ => {}
        }
    }

    /// Once all that was raised has been applied, nothing is open below a stop, also after a
    /// crash that cut its cascade; and in the stopped session nothing runs.
    pub fn stops_are_done(&self, disk: &Disk, posts: &[Post], done: &Done) {
        for task in disk.world.tasks.iter().filter(|task| task.cancelled.is_some()) {
            assert!(task.outcome.is_some(), "{} goes on after its stop", task.id);
        }
        let (Some(post), Some(Answer::Stopped(_))) = (posts.last(), done.answers.last()) else {
            return;
        };
        if let Event::Stop { session, .. } = &post.event {
            let row = disk.world.sessions.iter().find(|row| row.key == *session);
            let open = row.and_then(|row| row.open_run);
            assert_eq!(open, None, "{session} runs on after its stop");
        }
    }

    /// From now on nothing may begin in what was stopped, nor below it.
    fn note_stop(&mut self, disk: &Disk, stopped: &Stopped) {
        let mut tasks: BTreeSet<TaskId> = stopped.tasks.iter().copied().collect();
        // A task comes after the one above it.
        for task in &disk.world.tasks {
            if task.parent.is_some_and(|parent| tasks.contains(&parent)) && task.ended.is_none() {
                tasks.insert(task.id);
            }
        }
        let below = disk.world.tasks.iter().filter(|task| tasks.contains(&task.id));
        self.stopped.extend(below.map(|task| task.run));
        self.stopped.extend(&stopped.runs);
    }

    /// A model is asked: about something new, with a history that every provider takes.
    pub fn model_called(&mut self, disk: &Disk, call: &ModelCall) {
        let sent: Vec<&EntryHead> = disk.shown(call).into_iter().map(|(entry, _)| entry).collect();
        let mut heads = disk.world.transcripts.iter();
        let head = heads.find(|head| head.session_id == call.session_id);
        let conversation = Conversation {
            session_id: call.session_id,
            episode: head.map_or(0, |head| head.episode),
            purpose: call.purpose,
            last: sent.last().map_or(0, |entry| entry.seq),
        };
        let new = !self.answered.contains(&conversation);
        assert!(new, "I6: {} is asked again about {conversation:?}", call.run);
        self.asked.insert((call.run, call.step), conversation);
        let headed = call.shown.spans.first().is_some_and(|span| span.head.is_some());
        if let Err(why) = self.pairing(&sent, headed) {
            panic!("{} sends a history that no provider takes: {why}", call.run);
        }
        for hash in call.shown.spans.iter().filter_map(|span| span.head) {
            assert!(disk.kept(hash).is_some(), "the head {hash} is not kept");
        }
        let last = sent.last().map(|entry| entry.kind);
        let own = last == Some(EntryKind::Assistant) && call.shown.ask.is_none();
        assert!(!own, "{} asks its model about the model's own last word", call.run);
    }

    /// The rules of the strictest provider: the first entry is an input; an answer with calls is
    /// followed by the result of each and nothing in between.
    pub fn pairing(&self, sent: &[&EntryHead], headed: bool) -> Result<(), String> {
        let mut open: BTreeSet<&str> = BTreeSet::new();
        for (at, entry) in sent.iter().enumerate() {
            match entry.kind {
                EntryKind::ToolResult => {
                    let call = entry.call_id.as_deref().unwrap_or_default();
                    if !open.remove(call) {
                        return Err(format!("entry {} is the result of no call", entry.seq));
                    }
                    continue;
                }
                _ if !open.is_empty() => {
                    return Err(format!("entry {} comes before the results {open:?}", entry.seq));
                }
                EntryKind::Assistant if at == 0 && !headed => {
                    return Err("it begins with an answer".into());
                }
                EntryKind::Assistant => {
                    let step = (entry.run, entry.step.unwrap_or(u32::MAX));
                    let calls = self.planned.get(&step).map_or(&[][..], Vec::as_slice);
                    open = calls.iter().map(|call| call.call_id.as_str()).collect();
                }
                _ => {}
            }
        }
        if !open.is_empty() {
            return Err(format!("it ends before the results {open:?}"));
        }
        Ok(())
    }

    /// How often the tool of a step was begun.
    pub fn times_started(&self, run: RunId, step: u32) -> u32 {
        self.started.get(&(run, step)).copied().unwrap_or(0)
    }

    /// A tool is begun: one whose effect nobody can undo, once.
    pub fn tool_started(&mut self, start: &ToolStart, effect: Option<EffectClass>) {
        let times = self.started.entry((start.run, start.step)).or_default();
        *times += 1;
        let again = effect != Some(EffectClass::Opaque) || *times == 1;
        assert!(again, "I7: opaque step {} of {} is started twice", start.step, start.run);
    }
}

/// What interrupts waits behind nothing: while it waits, the open run of its session is its own, or
/// that of what has interrupted later.
fn comes_next(disk: &Disk, accepted: &Accepted) {
    let row = disk.world.inbox.iter().rev().find(|row| row.id == accepted.message);
    let row = row.expect("what was accepted is there");
    if row.state != InboxState::Queued || row.place != Place::Own {
        return;
    }
    let session = disk.world.sessions.iter().find(|session| session.key == row.session_key);
    let open = session.and_then(|session| session.open_run);
    let openers = disk.world.inbox.iter().filter(|other| other.run == open);
    let first = openers.map(|other| other.seq).min();
    assert!(first >= Some(row.seq), "{} interrupts, and waits behind row {first:?}", row.id);
}

/// A task that has answered has heard of all that it had asked for itself.
fn climbs(disk: &Disk, task: TaskId, child: &SessionKey) {
    let row = disk.world.tasks.iter().find(|row| row.id == task).expect("it has ended");
    let unread = disk.world.inbox.iter().any(|result| {
        let queued = result.kind == InboxKind::Announce && result.state == InboxState::Queued;
        queued && result.session_key == *child && result.origin == row.origin
    });
    assert!(!unread, "{task} ends while results of its own children lie unread");
    let open = disk.world.tasks.iter().any(|own| {
        let announces = own.announce.reaches_requester() && own.outcome.is_none();
        announces && own.requester_key == *child && own.origin == row.origin
    });
    assert!(!open, "{task} ends while children of its own are open");
}
