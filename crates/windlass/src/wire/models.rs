//! Providers and models, from the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use gateway::ProviderKeys;
use machine::limits::{ProviderLimits, Rate, Traits};
use machine::rows::GateKey;
use providers::{
    Anthropic, ApiKey, Endpoint, Google, HttpConfig, OpenaiChat, OpenaiResponses, Sampling, Script,
    Scripted, thinking,
};
use runtime::{Model, Tuning};
use types::{AgentId, Price, Thinking, Wire};

use windlass::config::presets::{self, PRESETS};
use windlass::config::{Agent, Config, ModelEntry, ModelRef, ModelWish, Provider, Secret};
use windlass::prices;

/// Tokens of a model of which nothing is known.
const CONTEXT_WINDOW: u64 = 200_000;
const MAX_TOKENS: u64 = 8_192;

/// The model of an agent that names none, as far as the keys tell.
pub fn by_key(config: &Config) -> Option<ModelRef> {
    let has_key = |id: &str| {
        let provider = config.models.providers.get(id);
        provider.is_some_and(Provider::has_key)
    };
    let preset = PRESETS.iter().find(|preset| preset.model.is_some() && has_key(preset.id))?;
    Some(ModelRef { provider: preset.id.to_owned(), model: preset.model?.to_owned() })
}

/// Every model that can be named: those that are listed, and those that agents ask for of a
/// provider that is there.
fn named(config: &Config) -> BTreeMap<String, (ModelRef, ModelEntry)> {
    let mut named = BTreeMap::new();
    for (provider, entry) in &config.models.providers {
        for model in &entry.models {
            let reference = ModelRef { provider: provider.clone(), model: model.id.clone() };
            named.insert(reference.to_string(), (reference, model.clone()));
        }
    }
    let agents = &config.agents;
    let choices = agents
        .entries
        .values()
        .flat_map(|agent| [&agent.model, &agent.subagents.model])
        .chain([&agents.defaults.model, &agents.defaults.subagents.model]);
    let by_key = by_key(config);
    // Those of which something is said may be chosen later.
    let spoken_of = agents.entries.values().flat_map(|agent| agent.models.keys());
    let spoken_of = spoken_of.chain(agents.defaults.models.keys());
    let chosen = choices.flatten().flat_map(|choice| choice.iter());
    for reference in chosen.chain(&by_key).chain(spoken_of) {
        if config.models.providers.contains_key(&reference.provider) {
            named.entry(reference.to_string()).or_insert_with(|| {
                let known = prices::find(&reference.to_string());
                let window = known.and_then(|known| known.context_window);
                let entry = ModelEntry {
                    id: reference.model.clone(),
                    name: None,
                    reasoning: None,
                    context_window: window.unwrap_or(CONTEXT_WINDOW),
                    max_tokens: MAX_TOKENS,
                    cost: None,
                    answers_as: Vec::new(),
                };
                (reference.clone(), entry)
            });
        }
    }
    // What all agents want of a model.
    for (reference, entry) in named.values_mut() {
        let wish = agents.defaults.models.get(reference);
        entry.max_tokens = wish.and_then(|wish| wish.params.max_tokens).unwrap_or(entry.max_tokens);
    }
    named
}

/// What agents want of models, where they or the defaults say it.
pub fn tuning(config: &Config) -> BTreeMap<(AgentId, String), Tuning> {
    let agents = &config.agents;
    let mut tuning = BTreeMap::new();
    for (id, agent) in &agents.entries {
        for model in agents.defaults.models.keys().chain(agent.models.keys()) {
            let params = |of: &BTreeMap<ModelRef, ModelWish>| {
                of.get(model).map(|wish| wish.params).unwrap_or_default()
            };
            let (own, all) = (params(&agent.models), params(&agents.defaults.models));
            let sampling = Sampling {
                temperature: own.temperature.or(all.temperature),
                top_p: own.top_p.or(all.top_p),
            };
            let output_max = own.max_tokens.and_then(|max| u32::try_from(max).ok());
            tuning.insert((id.clone(), model.to_string()), Tuning { sampling, output_max });
        }
    }
    tuning
}

/// How long an agent lets single models think.
pub fn thinking_of(agent: &Agent) -> BTreeMap<String, Thinking> {
    let wishes = agent.models.iter();
    wishes.filter_map(|(model, wish)| Some((model.to_string(), wish.params.thinking?))).collect()
}

/// What is known of one model; none if nothing names it.
pub fn entry(config: &Config, model: &ModelRef) -> Option<ModelEntry> {
    named(config).remove(&model.to_string()).map(|(_, entry)| entry)
}

/// The context window of each model.
pub fn windows(config: &Config) -> BTreeMap<String, u64> {
    let windows = targets(config).into_iter();
    windows.map(|(target, at)| (target, at.entry.context_window)).collect()
}

/// Other names under which models may answer, of those that may.
pub fn answers_as(config: &Config) -> BTreeMap<String, Vec<String>> {
    let names = |(name, (reference, entry)): (String, (ModelRef, ModelEntry))| {
        let preset = presets::find(&reference.provider);
        let any = preset.filter(|preset| preset.any_name && entry.answers_as.is_empty());
        let names = any.map_or(entry.answers_as, |_| vec!["*".to_owned()]);
        (name, names)
    };
    let all = named(config).into_iter().map(names);
    all.filter(|(_, names)| !names.is_empty()).collect()
}

/// What a call of each model can cost.
pub fn rates(config: &Config) -> BTreeMap<String, Rate> {
    let rate = |at: &Place| Rate { price: at.price(), output_max: at.entry.max_tokens };
    targets(config).into_iter().map(|(target, at)| (target, rate(&at))).collect()
}

/// Where each of those prices is from, and what it is.
pub fn price_ids(config: &Config) -> BTreeMap<String, String> {
    let id = |at: &Place| {
        let configured = at.entry.cost.is_some();
        Some(prices::id(&at.reference.to_string(), &at.price()?, configured))
    };
    let all = targets(config).into_iter();
    all.filter_map(|(target, at)| Some((target, id(&at)?))).collect()
}

/// What a call may go to: a model, at the provider's own key or at another account of it.
struct Place {
    reference: ModelRef,
    entry: ModelEntry,
    account: Option<String>,
}

impl Place {
    /// What the configuration says, else the catalogue.
    fn price(&self) -> Option<Price> {
        let known = || prices::find(&self.reference.to_string()).map(|known| known.price);
        self.entry.cost.or_else(known)
    }
}

fn targets(config: &Config) -> BTreeMap<String, Place> {
    let mut targets = BTreeMap::new();
    for (name, (reference, entry)) in named(config) {
        let provider = &config.models.providers[&reference.provider];
        let place = |account| Place { reference: reference.clone(), entry: entry.clone(), account };
        for account in provider.accounts.keys() {
            targets.insert(GateKey::target(&name, account), place(Some(account.clone())));
        }
        targets.insert(name, place(None));
    }
    targets
}

/// Other names of models.
pub fn aliases(config: &Config) -> BTreeMap<String, String> {
    let aliases = config.agents.aliases().into_iter();
    aliases.map(|(alias, model)| (alias, model.to_string())).collect()
}

/// With which keys the providers can be asked.
pub fn keys(config: &Config) -> Vec<ProviderKeys> {
    let of = |(id, provider): (&String, &Provider)| {
        let own = provider.api_key.as_ref().map(|_| "default".to_owned());
        let accounts = match provider.order.is_empty() {
            true => own.into_iter().collect(),
            false => provider.order.clone(),
        };
        let wants_key = presets::find(id).is_some_and(|preset| preset.lacks_key(provider));
        ProviderKeys { id: id.clone(), accounts, wants_key }
    };
    config.models.providers.iter().map(of).collect()
}

/// In which order the accounts of providers are asked, of those that have several.
pub fn accounts(config: &Config) -> BTreeMap<String, Vec<String>> {
    let providers = config.models.providers.iter();
    let several = providers.filter(|(_, provider)| !provider.order.is_empty());
    several.map(|(id, provider)| (id.clone(), provider.order.clone())).collect()
}

/// Which models can be told how long to think, and what is said of that.
pub fn traits(config: &Config) -> BTreeMap<String, Traits> {
    let wishes = &config.agents.defaults.models;
    let of = |(name, (reference, entry)): (String, (ModelRef, ModelEntry))| {
        let wire = config.models.providers[&reference.provider].api;
        let known = || thinking::is_known(wire, &entry.id);
        let thinks = entry.reasoning.unwrap_or_else(known);
        let thinking = wishes.get(&reference).and_then(|wish| wish.params.thinking);
        (name, Traits { thinks, thinking })
    };
    named(config).into_iter().map(of).collect()
}

/// What the accounts of providers may be asked for, of those that have limits.
pub fn limits(config: &Config) -> BTreeMap<String, ProviderLimits> {
    let some = |n: Option<u64>| n.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let all = config.models.providers.iter().map(|(id, provider)| {
        let of = provider.limits;
        let limits =
            ProviderLimits { rpm: some(of.rpm), tpm: of.tpm, concurrent: some(of.concurrent) };
        (id.clone(), limits)
    });
    all.filter(|(_, limits)| *limits != ProviderLimits::default()).collect()
}

/// The models, each with the provider that answers for it.
pub fn usable(config: &Config) -> anyhow::Result<BTreeMap<String, Model>> {
    let mut built: BTreeMap<(String, Option<String>), Arc<dyn providers::Provider>> =
        BTreeMap::new();
    let mut models = BTreeMap::new();
    for (target, Place { reference, entry, account }) in targets(config) {
        // No connection, and no command for a key, for a provider that nobody can ask for.
        let id = &reference.provider;
        let provider = match built.get(&(id.clone(), account.clone())) {
            Some(provider) => Arc::clone(provider),
            None => {
                let provider = &config.models.providers[id];
                let key = match &account {
                    Some(name) => provider.accounts.get(name),
                    None => provider.api_key.as_ref(),
                };
                let place = || format!("models.providers.{id}, account {account:?}");
                let client = client(id, provider, key).with_context(place)?;
                built.insert((id.clone(), account), Arc::clone(&client));
                client
            }
        };
        let max_output_tokens = u32::try_from(entry.max_tokens).unwrap_or(u32::MAX);
        models.insert(target, Model { provider, name: entry.id, max_output_tokens });
    }
    Ok(models)
}

fn client(
    id: &str,
    provider: &Provider,
    key: Option<&Secret>,
) -> anyhow::Result<Arc<dyn providers::Provider>> {
    if provider.api == Wire::Scripted {
        // It is in this process and has no address.
        return Ok(Arc::new(Scripted::new(Script::built_in())));
    }
    let mut http = HttpConfig::new(id, provider.base_url.clone());
    if let Some(key) = key {
        http = http.api_key(ApiKey::new(key.expose()?));
    }
    http.bearer = provider.auth_header;
    if let Some(seconds) = provider.timeout_seconds {
        http.stall_timeout = Duration::from_secs(seconds);
    }
    for (name, value) in &provider.headers {
        http.extra_headers.push((name.clone(), value.expose()?.to_owned()));
    }
    let endpoint = Endpoint::new(http)?;
    Ok(match provider.api {
        Wire::AnthropicMessages => Arc::new(Anthropic::new(endpoint)),
        Wire::OpenaiResponses => Arc::new(OpenaiResponses::new(endpoint)),
        Wire::GoogleGenerativeAi => Arc::new(Google::new(endpoint)),
        Wire::OpenaiCompletions | Wire::Scripted => Arc::new(OpenaiChat::new(endpoint)),
    })
}
