//! What a killed gateway has left running is ended before the next one goes on.
//!
//! A command that was cut off from its gateway has nobody left to report to, and the model is told
//! that its outcome is unknown. It must not go on changing things while the model looks.

use store::{Store, StoreError};
use tools::leftover;

/// Ends every process that carries the id of a run of this store. Call it with the lock of the
/// store held and before the driver runs: then no such process belongs to a living gateway.
///
/// Returns how many were ended.
pub async fn end_all(store: &dyn Store) -> Result<usize, StoreError> {
    let mut ended = 0;
    for process in leftover::find() {
        // A run of another gateway on this machine is none of ours.
        if store.run(process.run).await?.is_none() {
            continue;
        }
        let killed = process.kill();
        tracing::warn!(pid = process.pid, run = %process.run, killed, "left by a killed gateway");
        ended += usize::from(killed);
    }
    Ok(ended)
}
