//! The only `now` of the program, and where its randomness comes from.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use types::Timestamp;

/// Tells the time, and seeds the machine's draws.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;

    /// Returns 64 bits that nobody can foresee.
    fn seed(&self) -> u64;
}

/// The clock of the operating system.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is a clock that is not set: everything is due then, nothing breaks.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn seed(&self) -> u64 {
        // The keys of the standard library's hasher come from the system's random source; mixing
        // in the time keeps two calls of one thread apart.
        RandomState::new().hash_one(self.now())
    }
}
