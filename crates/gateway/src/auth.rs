//! Who may connect: the shared secret, and how fast it may be guessed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::ErrorShape;
use protocol::handshake::ConnectAuth;
use subtle::ConstantTimeEq;
use types::Timestamp;

use crate::config::Token;

/// How long a wrong token counts against its address.
const MEMORY: Duration = Duration::from_secs(60);

/// Wait after the first wrong token; doubled with each further one.
const DELAY_MIN: Duration = Duration::from_millis(100);

/// Longest wait. A guesser that uses every connection gets some 30 guesses a second, which is
/// nothing against a token of 128 bits; a person with a typo hardly notices.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// Addresses that are remembered. Whoever has more than this is not slowed by addresses.
const ADDRESSES_MAX: usize = 1_024;

/// The door.
#[derive(Debug)]
pub struct Gate {
    token: Option<Token>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Gate {
    pub fn new(token: Option<Token>) -> Gate {
        Gate { token, failures: Mutex::default() }
    }

    /// `token` or `none`: what clients are told of it.
    pub fn mode(&self) -> &'static str {
        if self.token.is_some() { "token" } else { "none" }
    }

    /// Lets in whoever knows the secret. The right one passes at once, whatever others at the same
    /// address have tried; the answer to a wrong one is held back.
    pub async fn check(
        &self,
        auth: &ConnectAuth,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<(), ErrorShape> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut presented = [&auth.token, &auth.password].into_iter().flatten().peekable();
        if presented.peek().is_none() {
            return Err(ErrorShape::token_missing());
        }
        // A comparison that stops at the first wrong byte would tell how much was right. Only the
        // length shows.
        if presented.any(|text| bool::from(text.as_bytes().ct_eq(token.as_bytes()))) {
            return Ok(());
        }
        let delay = self.note_failure(from, now);
        tracing::warn!(%from, ?delay, "a client came with a wrong token");
        tokio::time::sleep(delay).await;
        Err(ErrorShape::token_mismatch())
    }

    fn note_failure(&self, from: IpAddr, now: Timestamp) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX {
            failures.retain(|_, failed| now.since(failed.last) < MEMORY);
            if failures.len() >= ADDRESSES_MAX {
                failures.clear();
            }
        }
        let failed = failures.entry(from).or_insert(Failures { count: 0, last: now });
        if now.since(failed.last) >= MEMORY {
            failed.count = 0;
        }
        let delay = DELAY_MIN.saturating_mul(2_u32.saturating_pow(failed.count)).min(DELAY_MAX);
        *failed = Failures { count: failed.count.saturating_add(1), last: now };
        delay
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn auth(token: Option<&str>, password: Option<&str>) -> ConnectAuth {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        ConnectAuth { token: owned(token), password: owned(password) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_secret_in_either_field_opens() {
        let gate = Gate::new(Some("right".parse().unwrap()));
        let from = IpAddr::from([127, 0, 0, 1]);
        for (token, password, refused) in [
            (Some("right"), None, None),
            (None, Some("right"), None),
            (Some("wrong"), Some("right"), None),
            (Some("wrong"), None, Some("AUTH_TOKEN_MISMATCH")),
            (Some("righ"), None, Some("AUTH_TOKEN_MISMATCH")),
            (Some(""), None, Some("AUTH_TOKEN_MISMATCH")),
            (None, None, Some("AUTH_TOKEN_MISSING")),
        ] {
            let checked = gate.check(&auth(token, password), from, NOW).await;
            let code = checked.as_ref().err().and_then(ErrorShape::detail_code);
            assert_eq!(code, refused, "{token:?} {password:?}");
        }
        assert!(Gate::new(None).check(&auth(None, None), from, NOW).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_from_one_address_get_slower_and_a_good_token_does_not() {
        let gate = Gate::new(Some("right".parse().unwrap()));
        let from = IpAddr::from([10, 0, 0, 1]);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let asked = Instant::now();
            gate.check(&auth(Some("wrong"), None), from, NOW).await.unwrap_err();
            waits.push(asked.elapsed().as_millis() / 100);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 20]);

        let asked = Instant::now();
        gate.check(&auth(Some("right"), None), from, NOW).await.unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO);

        assert_eq!(gate.note_failure(from, NOW + MEMORY), DELAY_MIN);
    }
}
