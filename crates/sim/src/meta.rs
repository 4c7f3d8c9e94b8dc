//! The simulator looked at itself: a seed must give the same life twice, or it finds nothing.

use types::Hash;

use crate::life;

/// Hash of all that happens in the life of a seed.
pub fn fingerprint(seed: u64) -> Hash {
    let (trace, lived) = life::traced(seed, usize::MAX);
    Hash::of(format!("{}\n{lived:?}", trace.join("\n")))
}
