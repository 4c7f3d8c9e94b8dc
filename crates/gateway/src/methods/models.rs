//! Models as people and clients are told of them: which there are, which is asked, and why another.

use machine::Limits;
use machine::rows::GateKey;
use machine::{failover, naming};
use protocol::models::{
    AuthProfile, AuthState, AuthStatusResult, ListParams, ListResult, ModelRow, ProviderAuth,
};
use store::view::{RunFacts, SessionView};
use types::Thinking;

use crate::gateway::Gateway;

/// Models that one list names.
const ROWS_MAX: usize = 100;

/// Says that calls of a run go, or went, to another model than was chosen.
pub fn elsewhere(run: &RunFacts) -> Option<String> {
    let switched = GateKey::base(&run.model) != run.asked && !run.asked.is_empty();
    let named = run.answered.as_deref().filter(|name| naming::differs(&run.model, name));
    match (switched, named) {
        (true, _) => {
            let why = run.switched.as_deref().unwrap_or("its calls cannot go there");
            Some(format!("asked {}, answered by {}: {why}", run.asked, run.model))
        }
        (false, Some(name)) => Some(format!("asked {}, answered in the name of {name}", run.model)),
        (false, None) => None,
    }
}

/// The model of a conversation, and its own level of thinking.
pub fn model_of(limits: &Limits, session: &SessionView) -> String {
    let of_agent = limits.agents.get(&session.agent).map(|agent| agent.model.clone());
    session.model.clone().or(of_agent).unwrap_or_default()
}

/// How long its model is told to think, if anybody has said so.
pub fn thinking_line(limits: &Limits, session: &SessionView) -> Option<String> {
    let model = model_of(limits, session);
    let standing = failover::Wanted::new(&session.agent, session.depth, session.thinking);
    let level = standing.of(limits, &model)?;
    let own = if session.thinking.is_some() { " (of this conversation)" } else { "" };
    let effect = match failover::thinks(limits, &model) {
        true => String::new(),
        false => format!(", without effect: {model} cannot be told how long to think"),
    };
    Some(format!("thinking {level}{own}{effect}"))
}

/// Which model this conversation asks, and how that is changed.
pub fn card(limits: &Limits, session: Option<&SessionView>, of_agent: &str) -> String {
    let model = session.map_or(of_agent.to_owned(), |session| model_of(limits, session));
    let own = session.is_some_and(|session| session.model.is_some());
    let own = if own { "of this conversation" } else { "configured" };
    let mut lines = vec![format!("model: {model} ({own})")];
    lines.extend(session.and_then(SessionView::newest_run).and_then(elsewhere));
    let others = limits.agents.values().find(|agent| agent.model == model);
    let others = others.map(|agent| agent.fallbacks.join(", ")).filter(|list| !list.is_empty());
    lines.extend(others.map(|others| format!("in its place: {others}")));
    lines.push(
        "/model <name> asks another, /model default this one again; /models lists them".to_owned(),
    );
    lines.join("\n")
}

/// Every model that can be named, of one provider or all.
pub fn list(limits: &Limits, provider: Option<&str>) -> String {
    let of = |model: &&str| provider.is_none_or(|id| GateKey::of_model(model).provider == id);
    let models: Vec<&str> = limits.model_names().filter(of).collect();
    let mut lines: Vec<String> = models.iter().take(ROWS_MAX).map(|m| line(limits, m)).collect();
    if lines.is_empty() {
        return match provider {
            Some(id) => format!("No model of a provider `{id}` is configured; /models lists all."),
            None => "No model is configured: see models.providers.".to_owned(),
        };
    }
    let more = models.len().saturating_sub(ROWS_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

fn line(limits: &Limits, model: &str) -> String {
    let window = limits.models.get(model).copied().unwrap_or(0);
    let names = limits.aliases.iter().filter(|(_, of)| of.as_str() == model);
    let names: Vec<&str> = names.map(|(alias, _)| alias.as_str()).collect();
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let thinks = if failover::thinks(limits, model) { ", thinks" } else { "" };
    format!("{model}{names}: {window} tokens{thinks}")
}

/// What is answered to a level, and whether the model can be told of it.
pub fn levels() -> String {
    let words: Vec<&str> = Thinking::ALL.iter().map(|level| level.as_str()).collect();
    words.join("|")
}

/// `models.list`
pub fn list_result(gateway: &Gateway, params: &ListParams) -> ListResult {
    let limits = &gateway.handle.limits();
    let wanted = |model: &&str| {
        let provider = GateKey::of_model(model).provider;
        params.provider.as_ref().is_none_or(|wanted| *wanted == provider)
    };
    let row = |reference: &str| {
        let GateKey { provider, model, .. } = GateKey::of_model(reference);
        let alias = limits.aliases.iter().find(|(_, of)| of.as_str() == reference);
        ModelRow {
            name: model.clone(),
            id: model,
            provider,
            alias: alias.map(|(alias, _)| alias.clone()),
            context_window: limits.models.get(reference).copied().unwrap_or(0),
            reasoning: failover::thinks(limits, reference),
        }
    };
    ListResult { models: limits.model_names().filter(wanted).map(row).collect() }
}

/// `models.authStatus`
pub fn auth_status(gateway: &Gateway) -> AuthStatusResult {
    let shown = gateway.shown();
    let providers = shown.providers.iter().map(|provider| {
        let profile = |account: &String| AuthProfile {
            profile_id: format!("{}:{account}", provider.id),
            kind: "api_key".to_owned(),
            status: AuthState::Static,
        };
        ProviderAuth {
            provider: provider.id.clone(),
            display_name: provider.id.clone(),
            status: match (provider.accounts.is_empty(), provider.wants_key) {
                (false, _) => AuthState::Static,
                (true, true) => AuthState::Missing,
                (true, false) => AuthState::Ok,
            },
            profiles: provider.accounts.iter().map(profile).collect(),
        }
    });
    AuthStatusResult { ts: gateway.now(), providers: providers.collect() }
}
