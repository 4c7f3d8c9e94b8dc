//! Providers and models, from the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use machine::limits::{ProviderLimits, Rate};
use providers::{
    Anthropic, ApiKey, Endpoint, Google, HttpConfig, OpenaiChat, OpenaiResponses, Script, Scripted,
};
use runtime::Model;
use types::Wire;

use windlass::config::{Config, ModelEntry, ModelRef, Provider};

/// Tokens of a model of which nothing is known.
const CONTEXT_WINDOW: u64 = 200_000;
const MAX_TOKENS: u64 = 8_192;

/// What is used if nobody has chosen a model: of the first of these providers that has a key.
pub const BY_KEY: &[(&str, &str)] = &[("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5-mini")];

/// The model of an agent that names none, as far as the keys tell.
pub fn by_key(config: &Config) -> Option<ModelRef> {
    let has_key = |id: &str| {
        let provider = config.models.providers.get(id);
        provider.is_some_and(|provider| provider.api_key.is_some())
    };
    let (provider, model) = BY_KEY.iter().find(|(id, _)| has_key(id))?;
    Some(ModelRef { provider: (*provider).to_owned(), model: (*model).to_owned() })
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
    for reference in choices.flatten().flat_map(|choice| choice.iter()).chain(&by_key) {
        if config.models.providers.contains_key(&reference.provider) {
            named.entry(reference.to_string()).or_insert_with(|| {
                let entry = ModelEntry {
                    id: reference.model.clone(),
                    name: None,
                    context_window: CONTEXT_WINDOW,
                    max_tokens: MAX_TOKENS,
                    cost: None,
                };
                (reference.clone(), entry)
            });
        }
    }
    named
}

/// The context window of each model.
pub fn windows(config: &Config) -> BTreeMap<String, u64> {
    named(config).into_iter().map(|(name, (_, entry))| (name, entry.context_window)).collect()
}

/// What a call of each model can cost.
pub fn rates(config: &Config) -> BTreeMap<String, Rate> {
    let rate = |entry: &ModelEntry| Rate { price: entry.cost, output_max: entry.max_tokens };
    named(config).into_iter().map(|(name, (_, entry))| (name, rate(&entry))).collect()
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
    let mut built: BTreeMap<String, Arc<dyn providers::Provider>> = BTreeMap::new();
    for (id, provider) in &config.models.providers {
        let client = client(id, provider).with_context(|| format!("models.providers.{id}"))?;
        built.insert(id.clone(), client);
    }
    let models = named(config).into_iter().map(|(name, (reference, entry))| {
        let model = Model {
            provider: Arc::clone(&built[&reference.provider]),
            name: entry.id,
            max_output_tokens: u32::try_from(entry.max_tokens).unwrap_or(u32::MAX),
        };
        (name, model)
    });
    Ok(models.collect())
}

fn client(id: &str, provider: &Provider) -> anyhow::Result<Arc<dyn providers::Provider>> {
    if provider.api == Wire::Scripted {
        // It is in this process and has no address.
        return Ok(Arc::new(Scripted::new(Script::built_in())));
    }
    let mut http = HttpConfig::new(id, provider.base_url.clone());
    if let Some(key) = &provider.api_key {
        http = http.api_key(ApiKey::new(key.expose()));
    }
    if let Some(seconds) = provider.timeout_seconds {
        http.stall_timeout = Duration::from_secs(seconds);
    }
    let headers = provider.headers.iter();
    http.extra_headers =
        headers.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let endpoint = Endpoint::new(http)?;
    Ok(match provider.api {
        Wire::AnthropicMessages => Arc::new(Anthropic::new(endpoint)),
        Wire::OpenaiResponses => Arc::new(OpenaiResponses::new(endpoint)),
        Wire::GoogleGenerativeAi => Arc::new(Google::new(endpoint)),
        Wire::OpenaiCompletions | Wire::Scripted => Arc::new(OpenaiChat::new(endpoint)),
    })
}
