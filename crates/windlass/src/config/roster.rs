//! Which changes of the file add an agent, change one, or take one out.
//!
//! Whoever was the default agent stays it, and stays in its folder, unless another is made the
//! default: a file without entries has one agent, `main`, and the first entry that is written
//! would take its place.

use std::path::Path;

use serde_json::{Map, Value, json};
use types::AgentId;

use super::edit::{Change, Present};
use super::inventory;
use super::key_path::{KeyPath, Step};
use super::{Config, presets};

/// What is said of an agent: keys below its entry, and their values. None takes one out.
pub type Said = Vec<(&'static str, Option<Value>)>;

/// Why agents are left as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is an agent `{id}` already, at `{path}`; `windlass agents set {id}` changes it")]
    Exists { id: AgentId, path: String },
    #[error("no agent `{id}` in `agents.entries`; there are: {known}{hint}")]
    Unknown { id: AgentId, known: String, hint: String },
    #[error(
        "`{0}` is the default agent, the one of whoever names none: make another the default \
         first, with `windlass agents set ID --default`"
    )]
    Default(AgentId),
    #[error(
        "`{id}` is named at {places}: take it out there, or do both at once with \
         `windlass agents remove {id} --drop-references`"
    )]
    Named { id: AgentId, places: String },
    #[error("no model `{model}` in `models.providers.{provider}.models`; there are: {known}")]
    NoSuchModel { provider: String, model: String, known: String },
    #[error("nothing is said that could be changed of `{0}`")]
    NothingSaid(AgentId),
}

/// Adds an agent.
pub fn add(
    present: &Present,
    id: &AgentId,
    said: &Said,
    default: bool,
    state: &Path,
) -> Result<Vec<Change>, Refusal> {
    let agents = written(present);
    if let Some((_, path)) = agents.iter().find(|(known, _)| known == id) {
        return Err(Refusal::Exists { id: id.clone(), path: path.to_string() });
    }
    known_models(&present.config, said)?;
    let path = entry_path(id);
    let mut entry = json!({});
    for (key, value) in said.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        put(&mut entry, key, value.clone());
    }
    let mut changes = Vec::new();
    let main = AgentId::main();
    if agents.is_empty() && *id != main {
        changes.push(Change::set(entry_path(&main), json!({})));
    }
    if default {
        put(&mut entry, "default", json!(true));
        if entry.get("workspace").is_none() {
            put(&mut entry, "workspace", json!(state.join(format!("workspace-{id}"))));
        }
        changes.extend(step_down(present, &agents));
    } else {
        changes.extend(stay_default(present, &agents, id));
    }
    // The entry of `main` stands before it, so that a person reads who was first.
    changes.push(Change::set(path, entry));
    Ok(changes)
}

/// Changes what is said of an agent.
pub fn update(
    present: &Present,
    id: &AgentId,
    said: &Said,
    default: bool,
) -> Result<Vec<Change>, Refusal> {
    let agents = written(present);
    let path = match agents.iter().find(|(known, _)| known == id) {
        Some((_, path)) => path.clone(),
        // The one agent of a file that names none is there, and not written.
        None if present.config.agents.entries.contains_key(id) => entry_path(id),
        None => return Err(unknown(present, id)),
    };
    if said.is_empty() && !default {
        return Err(Refusal::NothingSaid(id.clone()));
    }
    known_models(&present.config, said)?;
    let mut changes = Vec::new();
    for (key, value) in said {
        let path = below(&path, key);
        match value {
            Some(value) => changes.push(Change::set(path, value.clone())),
            None if at(&present.written, &path).is_some() => changes.push(Change::remove(path)),
            // What is not said need not be taken back.
            None => {}
        }
    }
    let own = &present.config.agents.entries[id];
    if default && !own.default {
        changes.extend(step_down(present, &agents));
        changes.push(Change::set(below(&path, "default"), json!(true)));
        let said_now = said.iter().any(|(key, value)| *key == "workspace" && value.is_some());
        if !said_now && at(&present.written, &below(&path, "workspace")).is_none() {
            changes.push(Change::set(below(&path, "workspace"), json!(own.workspace)));
        }
    }
    Ok(changes)
}

/// Takes an agent out, and its name out of where others name it if `drop_references`.
pub fn remove(
    present: &Present,
    id: &AgentId,
    drop_references: bool,
) -> Result<Vec<Change>, Refusal> {
    let agent = present.config.agents.entries.get(id).ok_or_else(|| unknown(present, id))?;
    if agent.default {
        return Err(Refusal::Default(id.clone()));
    }
    let agents = written(present);
    let own = agents.iter().find(|(known, _)| known == id).map(|(_, path)| path.clone());
    let own = own.ok_or_else(|| unknown(present, id))?;
    let named = present.references.iter().filter(|(path, named)| {
        // What it says of itself goes with it.
        named == id && !path.steps().starts_with(own.steps())
    });
    let mut named: Vec<&KeyPath> = named.map(|(path, _)| path).collect();
    named.dedup();
    if !named.is_empty() && !drop_references {
        let places = named.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
        return Err(Refusal::Named { id: id.clone(), places });
    }
    let mut changes = Vec::new();
    for path in named {
        changes.extend(unnamed(present, path, id));
    }
    changes.push(Change::remove(own));
    Ok(changes)
}

/// Takes an agent's id out of a list, or the key that is its id.
fn unnamed(present: &Present, path: &KeyPath, id: &AgentId) -> Vec<Change> {
    let is_it = |text: &str| text.parse().is_ok_and(|named: AgentId| named == *id);
    let steps = path.steps();
    if let [.., Step::Key(above), Step::Key(key)] = steps
        && above == "delegateTools"
        && is_it(key)
    {
        return vec![Change::remove(path.clone())];
    }
    let items = at(&present.written, path).and_then(Value::as_array);
    let items = items.map(Vec::as_slice).unwrap_or_default().iter().enumerate();
    let its = items.filter(|(_, item)| item.as_str().is_some_and(is_it));
    // From behind, so that the places of the others stay.
    let mut indices: Vec<usize> = its.map(|(index, _)| index).collect();
    indices.reverse();
    indices.into_iter().map(|index| Change::remove(path.index(index))).collect()
}

fn unknown(present: &Present, id: &AgentId) -> Refusal {
    let ids = || present.config.agents.entries.keys().map(AgentId::as_str);
    let near = inventory::nearest_word(id.as_str(), ids());
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Refusal::Unknown { id: id.clone(), known: ids().collect::<Vec<_>>().join(", "), hint }
}

/// The agents that the file names and where, in the order in which one of them is the default.
pub fn written(present: &Present) -> Vec<(AgentId, KeyPath)> {
    let agents = KeyPath::default().key("agents");
    let (entries, list) = (agents.key("entries"), agents.key("list"));
    let mut found = Vec::new();
    if let Some(Value::Object(fields)) = at(&present.written, &entries) {
        let keyed = fields.keys().filter_map(|key| Some((key.parse().ok()?, entries.key(key))));
        found.extend(keyed);
    }
    if let Some(Value::Array(items)) = at(&present.written, &list) {
        let ids = items.iter().map(|item| item.get("id").and_then(Value::as_str));
        let listed = ids.enumerate();
        found.extend(listed.filter_map(|(n, id)| Some((id?.parse().ok()?, list.index(n)))));
    }
    found
}

/// What makes the present default agent an agent among others, in the folder that it has now.
fn step_down(present: &Present, agents: &[(AgentId, KeyPath)]) -> Vec<Change> {
    let id = present.config.agents.default_id();
    let place = agents.iter().find(|(known, _)| known == id);
    let path = place.map_or_else(|| entry_path(id), |(_, path)| path.clone());
    let (default, workspace) = (below(&path, "default"), below(&path, "workspace"));
    let mut changes = Vec::new();
    if at(&present.written, &default).is_some() {
        changes.push(Change::remove(default));
    }
    if at(&present.written, &workspace).is_none() {
        let folder = &present.config.agents.entries[id].workspace;
        changes.push(Change::set(workspace, json!(folder)));
    }
    changes
}

/// Says of the default agent that it is, where the new one would take its place otherwise.
fn stay_default(present: &Present, agents: &[(AgentId, KeyPath)], new: &AgentId) -> Option<Change> {
    let id = present.config.agents.default_id();
    let (_, path) = agents.iter().find(|(known, _)| known == id)?;
    let said = below(path, "default");
    let main = AgentId::main();
    // `main` is the default wherever nobody says so, and entries come before the old list.
    let listed = matches!(path.steps().last(), Some(Step::Index(_)));
    let displaced = *new == main || (listed && *id != main);
    let explicit = at(&present.written, &said) == Some(&json!(true));
    (displaced && !explicit).then(|| Change::set(said, json!(true)))
}

/// Refuses a model that its provider does not list, where the provider's models are only known by
/// that list.
fn known_models(config: &Config, said: &Said) -> Result<(), Refusal> {
    let chosen = said.iter().filter(|(key, _)| *key == "model");
    let chosen = chosen.filter_map(|(_, value)| value.as_ref());
    for text in chosen.flat_map(names_of) {
        let Some((provider, model)) = text.split_once('/') else { continue };
        let Some(listed) = config.models.providers.get(provider) else { continue };
        let ids = || listed.models.iter().map(|entry| entry.id.as_str());
        let open = presets::find(provider).is_some() || listed.models.is_empty();
        if !open && !ids().any(|id| id == model) {
            let known = ids().collect::<Vec<_>>().join(", ");
            let (provider, model) = (provider.to_owned(), model.to_owned());
            return Err(Refusal::NoSuchModel { provider, model, known });
        }
    }
    Ok(())
}

/// The models that a value of `model` names.
fn names_of(value: &Value) -> Vec<&str> {
    let fallbacks = value.get("fallbacks").and_then(Value::as_array);
    let fallbacks = fallbacks.map(Vec::as_slice).unwrap_or_default();
    let all = [Some(value), value.get("primary")].into_iter().flatten().chain(fallbacks);
    all.filter_map(Value::as_str).collect()
}

fn entry_path(id: &AgentId) -> KeyPath {
    KeyPath::default().key("agents").key("entries").key(id.as_str())
}

/// A key below a path, such as `tools.profile`.
pub fn below(path: &KeyPath, key: &str) -> KeyPath {
    key.split('.').fold(path.clone(), |path, key| path.key(key))
}

/// What stands at a path.
pub fn at<'a>(value: &'a Value, path: &KeyPath) -> Option<&'a Value> {
    path.steps().iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(*index),
    })
}

fn put(value: &mut Value, key: &str, to: Value) {
    let (first, rest) = key.split_once('.').map_or((key, None), |(key, rest)| (key, Some(rest)));
    let Value::Object(fields) = value else { return };
    match rest {
        None => drop(fields.insert(first.to_owned(), to)),
        Some(rest) => {
            let below = fields.entry(first).or_insert_with(|| Value::Object(Map::new()));
            put(below, rest, to);
        }
    }
}
