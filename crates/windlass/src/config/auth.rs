//! `auth`: several accounts of one provider, and in which order they are asked.

use std::collections::BTreeMap;

use types::word_enum;

use super::inventory;
use super::models::Models;
use super::secret::Secret;
use super::section::{Section, Spot};

/// What a profile holds.
struct Profile {
    provider: String,
    /// None if it is missing where that is no error.
    key: Option<Secret>,
}

/// The account of a provider's own `apiKey`.
const DEFAULT: &str = "default";

/// Reads the profiles into the providers that they are accounts of.
pub fn read(s: &mut Section<'_>, models: &mut Models) {
    let mut profiles = BTreeMap::new();
    s.section("profiles", |s| {
        s.each(|id, s| profiles.extend(profile(id, s, models)));
    });
    for (name, Profile { provider, key }) in profiles {
        if let (Some(provider), Some(key)) = (models.providers.get_mut(&provider), key) {
            provider.accounts.insert(name, key);
        }
    }
    for provider in models.providers.values_mut().filter(|one| !one.accounts.is_empty()) {
        let own = provider.api_key.as_ref().map(|_| DEFAULT.to_owned());
        provider.order = provider.accounts.keys().cloned().chain(own).collect();
    }
    s.section("order", |s| {
        for id in s.keys() {
            let spot = s.spot_of(&id);
            if let Some(names) = s.texts(&id) {
                order(s, &spot, &id, &names, models);
            }
        }
    });
}

/// A profile's name without its provider: `anthropic:work` is `work`.
fn short<'a>(id: &'a str, provider: &str) -> &'a str {
    id.strip_prefix(provider).and_then(|rest| rest.strip_prefix(':')).unwrap_or(id)
}

fn profile(id: &str, s: &mut Section<'_>, models: &Models) -> Option<(String, Profile)> {
    let spot = s.spot();
    // Who it is, for people.
    s.ignore("email");
    s.ignore("displayName");
    s.word("mode", Mode::ALL, &["oauth", "token", "aws-sdk"]);
    let named = s.text("provider");
    let provider = match (&named, id.split_once(':')) {
        (Some(provider), _) => provider.as_str(),
        (None, Some((provider, _))) => provider,
        (None, None) => {
            s.cx.error(&spot, "`provider` is missing: expected the id of a provider");
            ""
        }
    };
    if s.node("apiKey").is_none() {
        s.cx.error(&spot, "`apiKey` is missing: expected a secret, as in `models.providers`");
    }
    let key = s.secret("apiKey");
    let name = short(id, provider);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name == DEFAULT {
        let form = "letters, digits and `._-+@`, and not `default`";
        s.cx.error(&spot, format!("expected the name of an account of {form}; got `{name}`"));
        return None;
    }
    if !provider.is_empty() && !models.providers.contains_key(provider) {
        let known = models.providers.keys().map(String::as_str);
        let near = inventory::nearest_word(provider, known);
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        s.cx.error(&spot, format!("no provider `{provider}` in `models.providers`{hint}"));
        return None;
    }
    Some((name.to_owned(), Profile { provider: provider.to_owned(), key }))
}

/// What is not named is not asked.
fn order(s: &Section<'_>, spot: &Spot, id: &str, names: &[String], models: &mut Models) {
    let Some(provider) = models.providers.get_mut(id) else {
        return s.cx.error(spot, format!("no provider `{id}` in `models.providers`"));
    };
    let mut order = Vec::new();
    for name in names {
        let name = short(name, id);
        let own = name == DEFAULT && provider.api_key.is_some();
        if !own && !provider.accounts.contains_key(name) {
            let accounts = provider.accounts.keys().map(String::as_str);
            let near = inventory::nearest_word(name, accounts);
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            s.cx.error(spot, format!("no profile `{name}` of `{id}` in `auth.profiles`{hint}"));
        }
        order.push(name.to_owned());
    }
    if !order.is_empty() {
        provider.order = order;
    }
}

word_enum! {
    /// How an account is known.
    enum Mode {
        ApiKey = "api_key",
    }
}
