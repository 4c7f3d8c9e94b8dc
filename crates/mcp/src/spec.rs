//! A server's tools as a model sees them: names, descriptions and schemas that every provider
//! takes, in one order.
//!
//! They are part of the prefix that providers cache, so the same list gives the same bytes.

use std::collections::BTreeMap;

use rmcp::model::Tool;
use serde_json::{Map, Value, json};
use types::{EffectClass, Hash, ToolSpec};

use crate::config::ServerConfig;

/// Longest name that every provider takes.
const NAME_BYTES_MAX: usize = 64;

/// Hex digits that tell two names apart which would be one.
const SUFFIX_DIGITS: usize = 8;

/// A description is sent with every call of every session.
const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// And so is a schema.
const SCHEMA_BYTES_MAX: usize = 16 * 1024;

/// Tools of one server. More than that no model can choose from.
pub(crate) const TOOLS_MAX: usize = 128;

/// A tool of a server, ready to be offered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    /// As the server names it.
    pub(crate) theirs: String,
    pub(crate) spec: ToolSpec,
    pub(crate) effect: EffectClass,
}

/// What is offered of `tools`, by name.
pub(crate) fn offers(config: &ServerConfig, tools: &[Tool]) -> Vec<Offer> {
    let wanted: Vec<&Tool> = tools.iter().filter(|tool| config.wants(&tool.name)).collect();
    if wanted.len() > TOOLS_MAX {
        let (server, count) = (&config.name, wanted.len());
        tracing::warn!(server, count, TOOLS_MAX, "more tools than are offered: use toolFilter");
    }
    let names = names(&config.name, &wanted);
    let mut offers: BTreeMap<String, Offer> = BTreeMap::new();
    for (tool, name) in wanted.into_iter().zip(names).take(TOOLS_MAX) {
        let spec = ToolSpec {
            name: name.clone(),
            description: description(tool),
            input_schema: schema(&tool.input_schema),
        };
        let effect = effect(config, tool);
        offers.insert(name, Offer { theirs: tool.name.clone().into_owned(), spec, effect });
    }
    offers.into_values().collect()
}

/// `server__tool` for each. What had to be changed to fit, and would then be another's name, ends
/// in digits of its own name's hash: they do not depend on what else there is.
fn names(server: &str, tools: &[&Tool]) -> Vec<String> {
    let plain: Vec<(String, bool)> = tools.iter().map(|tool| fitting(server, &tool.name)).collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in &plain {
        *count.entry(name).or_default() += 1;
    }
    let unique = |name: &str| count.get(name) == Some(&1);
    let names = plain.iter().zip(tools).map(|((name, exact), tool)| {
        if name.len() <= NAME_BYTES_MAX && (*exact || unique(name)) {
            return name.clone();
        }
        let hash = Hash::of(tool.name.as_bytes()).to_string();
        let head = &name[..name.len().min(NAME_BYTES_MAX - SUFFIX_DIGITS - 1)];
        format!("{head}_{}", &hash[..SUFFIX_DIGITS])
    });
    names.collect()
}

/// The name with nothing in it that a provider refuses, and whether it was so before.
fn fitting(server: &str, tool: &str) -> (String, bool) {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name: String = tool.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let exact = name == tool;
    (format!("{server}__{name}"), exact)
}

fn description(tool: &Tool) -> String {
    let title =
        tool.title.as_deref().or(tool.annotations.as_ref().and_then(|a| a.title.as_deref()));
    let text = tool.description.as_deref().filter(|text| !text.trim().is_empty());
    let text = text.or(title).unwrap_or(&tool.name).trim().replace('\0', "\u{fffd}");
    let count = text.chars().count();
    if count <= DESCRIPTION_CHARS_MAX {
        return text;
    }
    let head: String = text.chars().take(DESCRIPTION_CHARS_MAX).collect();
    format!("{head} [cut here: {DESCRIPTION_CHARS_MAX} of {count} characters]")
}

/// The schema of an object, without what some provider refuses at its top.
fn schema(theirs: &Map<String, Value>) -> Value {
    let mut schema = theirs.clone();
    for key in ["$schema", "$id", "anyOf", "oneOf", "allOf", "not", "enum"] {
        schema.remove(key);
    }
    schema.insert("type".to_owned(), json!("object"));
    if !schema.get("properties").is_some_and(Value::is_object) {
        schema.insert("properties".to_owned(), json!({}));
    }
    let schema = Value::Object(schema);
    if schema.to_string().len() <= SCHEMA_BYTES_MAX {
        return schema;
    }
    // Names and types of the arguments are worth more than words about them.
    let bare = without_words(&schema);
    if bare.to_string().len() <= SCHEMA_BYTES_MAX {
        return bare;
    }
    json!({ "type": "object", "properties": {}, "additionalProperties": true })
}

fn without_words(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, value)| {
                // A property may be called so, too: then it is a schema and no text.
                let words = ["description", "title", "examples", "default"];
                !words.contains(&key.as_str()) || value.is_object()
            });
            kept.map(|(key, value)| (key.clone(), without_words(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_words).collect(),
        other => other.clone(),
    }
}

/// May a call be made again after a crash? What a server says of itself counts if it is trusted.
fn effect(config: &ServerConfig, tool: &Tool) -> EffectClass {
    let hints = tool.annotations.as_ref().filter(|_| config.trusted);
    match hints {
        Some(hints) if hints.read_only_hint == Some(true) => EffectClass::Pure,
        Some(hints) if hints.idempotent_hint == Some(true) => EffectClass::Idempotent,
        _ => EffectClass::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rmcp::model::ToolAnnotations;

    use super::*;
    use crate::config::Reach;

    fn config(trusted: bool) -> ServerConfig {
        ServerConfig {
            name: "files".to_owned(),
            reach: Reach::Http { url: "http://x".to_owned(), headers: BTreeMap::new() },
            connect_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(1),
            include: Vec::new(),
            exclude: Vec::new(),
            trusted,
            parallel: true,
        }
    }

    fn tool(name: &str, description: &str, schema: Value) -> Tool {
        let Value::Object(schema) = schema else { panic!("an object") };
        Tool::new(name.to_owned(), description.to_owned(), Arc::new(schema))
    }

    fn named(name: &str) -> Tool {
        tool(name, "what it does", json!({ "type": "object" }))
    }

    fn names_of(tools: &[Tool]) -> Vec<String> {
        offers(&config(false), tools).into_iter().map(|offer| offer.spec.name).collect()
    }

    #[test]
    fn names_fit_every_provider_and_do_not_depend_on_the_others() {
        assert_eq!(names_of(&[named("b.c"), named("a")]), ["files__a", "files__b_c"]);
        let both = names_of(&[named("b.c"), named("b_c"), named("b/c")]);
        assert_eq!(both[0], "files__b_c", "the one whose name it is keeps it");
        assert!(
            both[1].starts_with("files__b_c_") && both[2].starts_with("files__b_c_"),
            "{both:?}"
        );
        assert_ne!(both[1], both[2]);
        let long = "x".repeat(100);
        let (one, other) = (named(&format!("{long}1")), named(&format!("{long}2")));
        let alone = names_of(std::slice::from_ref(&one));
        assert_eq!(alone[0].len(), 64);
        assert!(names_of(&[other, one]).contains(&alone[0]));
    }

    #[test]
    fn schemas_are_objects_without_what_is_refused() {
        let odd = json!({ "$schema": "x", "anyOf": [{}], "required": ["a"] });
        let offers = offers(&config(false), &[tool("t", "", odd)]);
        let schema = &offers[0].spec.input_schema;
        assert_eq!(*schema, json!({ "required": ["a"], "type": "object", "properties": {} }));
        assert_eq!(offers[0].spec.description, "t", "nothing was said of it");
    }

    #[test]
    fn what_is_long_is_cut_where_it_is_seen() {
        let words = "é".repeat(3_000);
        let properties =
            json!({ "description": { "type": "string", "description": "x".repeat(20_000) } });
        let schema = json!({ "type": "object", "properties": properties });
        let offers = offers(&config(false), &[tool("t", &words, schema)]);
        let spec = &offers[0].spec;
        assert!(spec.description.ends_with("é [cut here: 2000 of 3000 characters]"));
        let kept =
            json!({ "type": "object", "properties": { "description": { "type": "string" } } });
        assert_eq!(spec.input_schema, kept);
        let many: Map<String, Value> =
            (0..2_000).map(|n| (format!("argument{n}"), json!({ "type": "string" }))).collect();
        let schema = json!({ "type": "object", "properties": many });
        let offers = super::offers(&config(false), &[tool("t", "", schema)]);
        assert_eq!(offers[0].spec.input_schema["additionalProperties"], true);
    }

    #[test]
    fn only_a_trusted_server_says_what_its_tools_do() {
        let hints = |read_only, idempotent| {
            let hints = ToolAnnotations::from_raw(None, read_only, None, idempotent, None);
            named("t").annotate(hints)
        };
        for (trusted, tool, effect) in [
            (false, hints(Some(true), Some(true)), EffectClass::Opaque),
            (true, hints(Some(true), None), EffectClass::Pure),
            (true, hints(Some(false), Some(true)), EffectClass::Idempotent),
            (true, hints(None, None), EffectClass::Opaque),
            (true, named("t"), EffectClass::Opaque),
        ] {
            assert_eq!(offers(&config(trusted), &[tool])[0].effect, effect);
        }
    }
}
