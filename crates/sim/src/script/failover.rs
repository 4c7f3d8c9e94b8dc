//! Providers that refuse: the key, the model, or for a while everything.

use machine::event::{ModelFailure, Overflow};
use types::FailureClass;

use super::Said;
use crate::rng::Rng;

/// Lets some of what is asked be refused for a reason that leads elsewhere.
pub fn vary(rng: &mut Rng, said: &mut Said) {
    use FailureClass::{Auth, Network, Overload, Quota, RateLimit, UnknownModel};

    if !rng.chance(200) {
        return;
    }
    let class = *rng.pick(&[Auth, Network, Network, Overload, Quota, RateLimit, UnknownModel]);
    let retry_after_ms = rng.chance(500).then(|| rng.between(0, 20_000));
    let message = format!("refused: {class}");
    *said = Said::Fails(ModelFailure {
        class,
        message,
        retry_after_ms,
        paid: false,
        overflow: Overflow::default(),
    });
}
