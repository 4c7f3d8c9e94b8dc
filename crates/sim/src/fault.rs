//! What goes wrong in a simulated life, and how often.

use crate::rng::Rng;

/// Chances, each out of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A commit is cut, before or after: see [`Cut`].
    pub cut: u64,
    /// The process is lost between two commits.
    pub crash: u64,
    /// The gateway is drained and started again.
    pub drain: u64,
    /// A result comes twice.
    pub doubled: u64,
    /// What a lost or stopped life was doing comes to an end after all, and is heard.
    pub late: u64,
    /// The sender of a message sends it again although it was accepted.
    pub resent: u64,
}

/// Where a crash cuts a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing has happened.
    Before,
    /// It has happened, and nobody was told: no answer, no action.
    After,
    /// The answers were heard, and no action was started.
    AfterAnswers,
    /// So many actions were started.
    AfterActions(usize),
}

impl Faults {
    /// The faults of a seed: from a quiet life to one in which little holds.
    pub fn of(rng: &mut Rng) -> Faults {
        let mut up_to = |most| if rng.chance(300) { 0 } else { rng.below(most) };
        Faults {
            cut: up_to(80),
            crash: up_to(60),
            drain: up_to(30),
            doubled: up_to(300),
            late: up_to(500),
            resent: up_to(500),
        }
    }

    pub fn draw_cut(&self, rng: &mut Rng) -> Option<Cut> {
        rng.chance(self.cut).then(|| match rng.below(4) {
            0 => Cut::Before,
            1 => Cut::After,
            2 => Cut::AfterAnswers,
            _ => Cut::AfterActions(rng.below(4) as usize),
        })
    }
}
