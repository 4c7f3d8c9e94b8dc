//! What models are shown: a projection of the transcript that every provider takes.

use std::collections::{BTreeMap, BTreeSet};

use types::{RunId, SessionId};

use super::{EntryHead, Found, World};
use crate::context::CALLS_MAX;
use crate::deliver;
use crate::rows::{EntryKind, Episode, EpisodeReason, Purpose, Step, StepKind, StepState};

pub(super) fn check(world: &World, found: &mut Found) {
    let mut entries: BTreeMap<SessionId, Vec<&EntryHead>> = BTreeMap::new();
    for entry in &world.entries {
        entries.entry(entry.session_id).or_default().push(entry);
    }
    let mut newest: BTreeMap<SessionId, &Episode> = BTreeMap::new();
    let mut episodes: Vec<&Episode> = world.episodes.iter().collect();
    episodes.sort_by_key(|episode| (episode.session_id, episode.n));
    for episode in episodes {
        let own = entries.get(&episode.session_id).map_or(&[][..], Vec::as_slice);
        let before = newest.insert(episode.session_id, episode);
        heads(episode, before, own, found);
    }
    let open: BTreeSet<(RunId, u32)> = world
        .steps
        .iter()
        .filter(|step| step.kind == StepKind::Tool)
        .filter(|step| matches!(step.state, StepState::Intent | StepState::Waiting))
        .filter_map(|step| Some((step.run, step.asked_by?)))
        .collect();
    // Which results each answer has, by the steps that were made of its calls.
    let mut due: BTreeMap<(RunId, u32), BTreeSet<u32>> = BTreeMap::new();
    for step in world.steps.iter().filter(|step| step.kind == StepKind::Tool) {
        let result = matches!(step.state, StepState::Done | StepState::Failed | StepState::Unknown);
        if let Some(asked_by) = step.asked_by.filter(|_| result && !deliver::is_check(step)) {
            due.entry((step.run, asked_by)).or_default().insert(step.n);
        }
    }
    for (id, episode) in &newest {
        let own = entries.get(id).map_or(&[][..], Vec::as_slice);
        shown(episode, own, &due, &open, found);
    }
    silence(world, &entries, found);
    calls(world, found);
}

/// C1: an episode refers to entries that there are, and a new one by compaction has something in
/// the place of what it leaves out.
fn heads(episode: &Episode, before: Option<&Episode>, own: &[&EntryHead], found: &mut Found) {
    let (id, n) = (episode.session_id, episode.n);
    let next = own.len() as i64 + 1;
    found.unless(episode.first_seq >= 1 && episode.first_seq <= next, "C1", || {
        format!("episode {n} of {id} begins at {}, and {next} comes next", episode.first_seq)
    });
    if let Some(anchor) = episode.anchor {
        let entry = own.get(anchor as usize - 1).filter(|_| anchor < episode.first_seq);
        let input = entry.is_some_and(|entry| crate::finish::is_input(entry.kind) && !entry.silent);
        found.unless(input, "C1", || format!("episode {n} of {id} is anchored at {anchor}"));
    }
    if episode.reason == EpisodeReason::Compaction && episode.head.is_none() {
        let same = before.is_some_and(|before| before.first_seq == episode.first_seq);
        found.unless(same && episode.clip.is_some(), "C1", || {
            format!("episode {n} of {id} has no head, and leaves something out")
        });
    }
}

/// C2: of what a conversation would send now, no result has lost its call, and no call its result,
/// but those that are open. What comes first is no result.
fn shown(
    episode: &Episode,
    own: &[&EntryHead],
    due: &BTreeMap<(RunId, u32), BTreeSet<u32>>,
    open: &BTreeSet<(RunId, u32)>,
    found: &mut Found,
) {
    let id = episode.session_id;
    let from = usize::try_from(episode.first_seq - 1).unwrap_or(0).min(own.len());
    let sent: Vec<&&EntryHead> = own[from..].iter().filter(|entry| !entry.silent).collect();
    let first = sent.first().map(|entry| entry.kind);
    found.unless(first != Some(EntryKind::ToolResult), "C2", || {
        format!("the conversation of {id} begins with a result, at {}", episode.first_seq)
    });
    let mut missing: BTreeSet<(RunId, u32)> = BTreeSet::new();
    for entry in &sent {
        let step = (entry.run, entry.step.unwrap_or(u32::MAX));
        match entry.kind {
            EntryKind::ToolResult => {
                let known = missing.remove(&step);
                found.unless(known, "C2", || {
                    format!("entry {} of {id} is a result whose call is not shown", entry.seq)
                });
            }
            kind => {
                found.unless(missing.is_empty(), "C2", || {
                    format!("entry {} of {id} comes before the results {missing:?}", entry.seq)
                });
                if kind == EntryKind::Assistant {
                    let steps = due.get(&step).into_iter().flatten();
                    missing = steps.map(|n| (entry.run, *n)).collect();
                    // Those that are open have none yet, and nothing comes behind them.
                    let last = sent.last().is_some_and(|last| last.run == entry.run);
                    found.unless(!open.contains(&step) || last, "C2", || {
                        format!("calls of entry {} of {id} are open, and it went on", entry.seq)
                    });
                }
            }
        }
    }
    found.unless(missing.is_empty(), "C2", || {
        format!("the conversation of {id} ends without the results {missing:?}")
    });
}

/// C3: an answer and a result are silent if and only if notes were taken then; a summary has no
/// entry at all.
fn silence(world: &World, entries: &BTreeMap<SessionId, Vec<&EntryHead>>, found: &mut Found) {
    let purposes: BTreeMap<(RunId, u32), Purpose> =
        world.steps.iter().map(|step| ((step.run, step.n), step.purpose)).collect();
    for entry in entries.values().flatten() {
        let Some(step) = entry.step else { continue };
        let purpose = purposes.get(&(entry.run, step)).copied();
        let right = match purpose {
            Some(Purpose::Notes) => entry.silent,
            Some(Purpose::Reply) => !entry.silent,
            Some(Purpose::Summary) | None => false,
        };
        found.unless(right, "C3", || {
            format!("entry {} of {} is of a step for {purpose:?}", entry.seq, entry.session_id)
        });
    }
}

/// C4: between two answers of a run, notes and summaries leave two of the calls that it may make:
/// for its question, and for its question once more.
fn calls(world: &World, found: &mut Found) {
    let mut made: BTreeMap<RunId, u32> = BTreeMap::new();
    let mut steps: Vec<&Step> = world.steps.iter().collect();
    steps.sort_by_key(|step| (step.run, step.n));
    for step in steps {
        if step.kind != StepKind::Model || step.state != StepState::Done {
            continue;
        }
        if step.purpose == Purpose::Reply {
            made.remove(&step.run);
            continue;
        }
        let calls = made.entry(step.run).or_default();
        *calls += 1;
        found.unless(*calls + 2 <= CALLS_MAX, "C4", || {
            format!("step {} of {} is call {calls} for notes or a summary", step.n, step.run)
        });
    }
}
