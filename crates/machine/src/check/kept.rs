//! Texts that are kept whole: each belongs to the tree of its run, and is longer than what a
//! transcript takes.

use std::collections::{BTreeMap, BTreeSet};

use types::RunId;

use super::{Found, World};
use crate::rows::Run;

/// Looks at all kept texts.
pub(super) fn check(world: &World, found: &mut Found) {
    let runs: BTreeMap<RunId, &Run> = world.runs.iter().map(|run| (run.id, run)).collect();
    let mut seen = BTreeSet::new();
    for row in &world.kept {
        let tree = runs.get(&row.run).map(|run| &run.root_key);
        found.unless(tree == Some(&row.root_key), "kept", || {
            format!(
                "{} is kept for {}, and its run {} is of {tree:?}",
                row.hash, row.root_key, row.run
            )
        });
        found.unless(seen.insert((&row.root_key, row.hash)), "kept", || {
            format!("{} is kept twice for {}", row.hash, row.root_key)
        });
    }
}
