//! `byProvider`: what the model that is asked, or its provider, takes away.

use std::collections::BTreeMap;

use super::{Profile, Removed, Rule, Subject, ToolFact, ToolLists, ToolRules, lists};
use crate::rows::GateKey;

/// What is said of one provider, or of one model of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderRules {
    /// Nothing but this set, and `alsoAllow` beside it.
    pub profile: Option<Profile>,
    pub lists: ToolLists,
}

/// By `provider` or `provider/model`, in small letters.
pub type ByProvider = BTreeMap<String, ProviderRules>;

/// The rules for a model: its own, else those of its provider. The key is as it is written.
pub fn of<'r>(rules: &'r ByProvider, model: &str) -> Option<(&'r str, &'r ProviderRules)> {
    let model = GateKey::base(model).to_lowercase();
    let provider = model.split_once('/').map(|(provider, _)| provider);
    let found = rules.get_key_value(&model).or_else(|| rules.get_key_value(provider?));
    found.map(|(key, rules)| (key.as_str(), rules))
}

/// Does a rule for the model of this session take the tool away? A profile that is named for the
/// agent stands in the place of that for all; the lists of both hold.
pub(super) fn removed(
    rules: &ToolRules,
    subject: &Subject<'_>,
    entry: &str,
    fact: &ToolFact,
) -> Option<Removed> {
    let all = of(&rules.providers, subject.model);
    let own = rules.agents.get(subject.agent);
    let own = own.and_then(|own| of(&own.providers, subject.model));
    let all = all.map(|(key, rules)| (section("tools", key), rules));
    let own = own.map(|(key, rules)| (section(&format!("{entry}.tools"), key), rules));
    let profiled = own.iter().chain(&all).find(|(_, rules)| rules.profile.is_some());
    profiled
        .and_then(|(section, rules)| by_profile(section, rules, fact))
        .or_else(|| all.as_ref().and_then(|(key, of)| by_lists(key, of, fact)))
        .or_else(|| own.as_ref().and_then(|(key, of)| by_lists(key, of, fact)))
}

/// `tools.byProvider.openai`, `tools.byProvider["openai/gpt-5"]`
fn section(above: &str, key: &str) -> String {
    if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        format!("{above}.byProvider.{key}")
    } else {
        format!("{above}.byProvider[\"{key}\"]")
    }
}

fn by_profile(section: &str, rules: &ProviderRules, fact: &ToolFact) -> Option<Removed> {
    let profile = rules.profile?;
    let also = rules.lists.also_allow.iter().any(|entry| entry.names(fact));
    let stays = profile.has(fact) || also;
    let key = format!("{section}.profile");
    (!stays).then(|| Removed::by_key(fact, Rule::Provider, key, &profile))
}

fn by_lists(section: &str, rules: &ProviderRules, fact: &ToolFact) -> Option<Removed> {
    lists(fact, Rule::Provider, section, &rules.lists)
}
