//! The gates of providers: what one lets through, kept once for all runs.

use std::fmt;
use std::str::FromStr;

use types::{RunId, Timestamp, word_enum};

word_enum! {
    /// How a provider's gate stands.
    pub enum GateState {
        Open = "open",
        Closed = "closed",
        /// One call is out to find out.
        Probing = "probing",
    }
}

word_enum! {
    /// Why a gate is closed.
    pub enum GateKind {
        /// Too many calls.
        Rate = "rate",
        /// The account has none left.
        Quota = "quota",
        /// The provider is overloaded or broken on its side.
        Overload = "overload",
        /// It cannot be reached.
        Network = "network",
        /// The account's key is refused.
        Auth = "auth",
        /// There is no such model there.
        UnknownModel = "unknown_model",
    }
}

impl GateKind {
    /// It does not pass by itself: somebody has to mend the configuration. Nobody waits for that.
    pub fn lasts(self) -> bool {
        matches!(self, GateKind::Auth | GateKind::UnknownModel)
    }
}

/// Names a gate: one model of an account of a provider, or the account itself.
///
/// The text is `<provider>/<account>/<model>`, with `*` for all models. The account of a
/// provider's `apiKey` is `default`; its auth profiles are others. A call goes to
/// `<provider>/<model>` or, at another account, `<provider>/<model>#<account>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateKey {
    pub provider: String,
    pub account: String,
    /// The provider's own name of it.
    pub model: String,
}

impl GateKey {
    const ACCOUNT: &str = "default";
    const ALL: &str = "*";
    /// No model has it in its name.
    const AT: char = '#';

    /// The gate of what a call goes to: `provider/model`, or `provider/model#account`.
    pub fn of_model(reference: &str) -> GateKey {
        let (provider, model) = reference.split_once('/').unwrap_or(("", reference));
        let (model, account) = model.rsplit_once(GateKey::AT).unwrap_or((model, GateKey::ACCOUNT));
        let (provider, account) = (provider.to_owned(), account.to_owned());
        GateKey { provider, account, model: model.to_owned() }
    }

    /// The gate of all that goes to one account.
    pub fn of_account(provider: &str, account: &str) -> GateKey {
        let (provider, account) = (provider.to_owned(), account.to_owned());
        GateKey { provider, account, model: GateKey::ALL.to_owned() }
    }

    /// What a call of `model` (as `provider/model`) goes to at `account`.
    pub fn target(model: &str, account: &str) -> String {
        match account {
            GateKey::ACCOUNT => model.to_owned(),
            account => format!("{model}{}{account}", GateKey::AT),
        }
    }

    /// The model of what a call goes to, without its account.
    pub fn base(target: &str) -> &str {
        target.rsplit_once(GateKey::AT).map_or(target, |(model, _)| model)
    }

    /// How what goes to this account ends; nothing for the account of the provider's own key.
    pub fn suffix(&self) -> String {
        GateKey::target("", &self.account)
    }

    /// The gate of the account that this one belongs to.
    pub fn account_wide(&self) -> GateKey {
        GateKey { model: GateKey::ALL.to_owned(), ..self.clone() }
    }

    pub fn is_account(&self) -> bool {
        self.model == GateKey::ALL
    }

    /// How references to models of this provider begin.
    pub fn prefix(&self) -> String {
        if self.provider.is_empty() { String::new() } else { format!("{}/", self.provider) }
    }

    /// What a call through it goes to.
    pub fn reference(&self) -> String {
        format!("{}{}{}", self.prefix(), self.model, self.suffix())
    }
}

impl fmt::Display for GateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.provider, self.account, self.model)
    }
}

impl FromStr for GateKey {
    type Err = ParseGateKeyError;

    fn from_str(text: &str) -> Result<GateKey, ParseGateKeyError> {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(provider), Some(account), Some(model)) if !model.is_empty() => {
                Ok(GateKey { provider, account, model })
            }
            _ => Err(ParseGateKeyError(text.to_owned())),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a gate, as `provider/account/model`; got `{0}`")]
pub struct ParseGateKeyError(String);

/// What a provider lets through, for all runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub key: GateKey,
    pub state: GateState,
    /// Why it is not open.
    pub kind: Option<GateKind>,
    /// A closed gate may be tried from here on.
    pub reopen: Option<Timestamp>,
    /// The run whose call finds out.
    pub probe: Option<RunId>,
    /// Closings since it was last open.
    pub strikes: u32,
    /// When it was closed last.
    pub closed: Option<Timestamp>,
    /// The provider's words.
    pub reason: Option<String>,
    /// Since when `requests` and `tokens` are counted.
    pub window: Timestamp,
    pub requests: u32,
    pub tokens: u64,
}

impl Gate {
    pub fn open(key: GateKey, now: Timestamp) -> Gate {
        Gate {
            key,
            state: GateState::Open,
            kind: None,
            reopen: None,
            probe: None,
            strikes: 0,
            closed: None,
            reason: None,
            window: now,
            requests: 0,
            tokens: 0,
        }
    }
}
