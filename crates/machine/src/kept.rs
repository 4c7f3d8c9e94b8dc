//! What is too long for a transcript: it enters by its two ends, and is kept whole for whoever of
//! its tree of sessions reads on.
//!
//! ```text
//!  text ─▶ longer than the bound? ─▶ ends with a mark between ─▶ entry
//!                                └─▶ row of the tree, kept whole ─▶ `result_read`
//! ```
//!
//! A text is kept only for a session that has the tool to read it. It goes when it is as old as
//! what else is done with: [`crate::limits::RETENTION`].

use std::borrow::Cow;

use types::excerpt::{self, BlobId};
use types::{Hash, RunId, SessionKey};

use crate::policy;
use crate::rows::Kept;
use crate::state::State;

/// Tools of this group show long things in pages of their own making.
const PAGED: &str = "sessions";

/// How much of a step's result may enter: never more than its share of the model's window.
pub fn result_bytes_max(state: &mut State<'_>, run: RunId, step: u32) -> usize {
    let name = state.step(&(run, step)).name.clone();
    let fact = state.limits.tools.catalogue.iter().find(|fact| Some(&fact.name) == name.as_ref());
    let paged = fact.is_some_and(|fact| fact.groups.iter().any(|group| group == PAGED));
    let of_window = share_of_window(state, run);
    if paged { of_window } else { state.limits.result_bytes_max.min(of_window) }
}

/// Bytes of one result that the window of the run's model has room for.
pub fn share_of_window(state: &mut State<'_>, run: RunId) -> usize {
    let model = state.run(&run).model.clone();
    bytes(state.limits_of(run).result_tokens(&model))
}

/// Bounds an input that a model is shown to a share of its window. The whole of it is kept for
/// good: it was accepted.
pub fn bounded_input(state: &mut State<'_>, run: RunId, text: &str) -> Option<String> {
    let model = state.run(&run).model.clone();
    let bytes_max = bytes(state.limits_of(run).input_tokens(&model));
    match bounded(state, run, text, bytes_max) {
        Cow::Borrowed(_) => None,
        Cow::Owned(cut) => {
            state.tx().add_blob(Hash::of(text), text);
            Some(cut)
        }
    }
}

/// As many bytes as our estimate takes for so many tokens.
fn bytes(tokens: u64) -> usize {
    usize::try_from(tokens.saturating_mul(4)).unwrap_or(usize::MAX)
}

/// Bounds a text that comes into the transcript of `run`: as it is, or by its ends.
pub fn bounded<'t>(
    state: &mut State<'_>,
    run: RunId,
    text: &'t str,
    bytes_max: usize,
) -> Cow<'t, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let session = state.run(&run).session_key.clone();
    let whole = can_read(state, &session).then(|| keep(state, run, text));
    excerpt::cut(text, bytes_max, whole)
}

/// Keeps a text whole for the tree of `run`.
pub fn keep(state: &mut State<'_>, run: RunId, text: &str) -> BlobId {
    let id = BlobId::of(text);
    let root_key = state.run(&run).root_key.clone();
    let (hash, bytes, at) = (id.hash(), text.len() as u64, state.now());
    state.tx().put_kept(&Kept { root_key, hash, run, bytes, at }, text);
    id
}

/// Has the session the tool that reads what is kept?
pub fn can_read(state: &mut State<'_>, session: &SessionKey) -> bool {
    policy::now(state, session).allowed.contains(excerpt::READER)
}
