//! What every tool must keep, whoever wrote it. Run it against a new tool in its tests.

use std::time::Duration;

use types::EffectClass;

use crate::{Probe, Tool, ToolContext, ToolOutput};

/// How soon a tool must answer once its run is stopped, over its own grace.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Checks `tool` in a workspace of its own. `valid` are arguments of a call that succeeds there,
/// once.
///
/// # Panics
///
/// If the tool breaks a rule; the message names it.
pub async fn check(tool: &dyn Tool, context: &ToolContext, valid: &str) {
    check_spec(tool);
    check_bad_arguments(tool, context).await;
    let name = &tool.spec().name;

    let probed = tool.effect() == EffectClass::Probed;
    if probed {
        let before = tool.probe(context, valid).await;
        assert_eq!(before, Probe::NotDone, "`{name}`: the probe before the call");
    }
    let first = tool.call(context, valid).await;
    assert!(!first.is_error, "`{name}` failed with valid arguments: {}", first.text);
    match tool.effect() {
        EffectClass::Probed => {
            let after = tool.probe(context, valid).await;
            assert_eq!(after, Probe::Done(first), "`{name}`: the probe after the call");
        }
        EffectClass::Pure | EffectClass::Idempotent => {
            let again = tool.call(context, valid).await;
            assert_eq!(again, first, "`{name}`: a second call with the same key");
        }
        EffectClass::Internal | EffectClass::Opaque => {}
    }
    check_stopped(tool, context, valid).await;
}

/// The rules on which providers agree: a plain name, a description, an object that says what it
/// takes. That it takes nothing else is not said with every call, but done: a name that it does
/// not know is refused.
fn check_spec(tool: &dyn Tool) {
    let spec = tool.spec();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let name = &spec.name;
    assert!((1..=64).contains(&name.len()) && name.bytes().all(plain), "the name `{name}`");
    assert!(!spec.description.trim().is_empty(), "`{name}` has no description");
    let schema = &spec.input_schema;
    assert_eq!(schema["type"], "object", "`{name}`: its schema");
    let none = Vec::new();
    for required in schema["required"].as_array().unwrap_or(&none) {
        let required = required.as_str().unwrap_or_default();
        assert!(
            schema["properties"].get(required).is_some(),
            "`{name}` requires `{required}` and does not describe it"
        );
    }
}

/// Whatever a model writes, the answer is an error that says something, and nothing is done.
async fn check_bad_arguments(tool: &dyn Tool, context: &ToolContext) {
    for bad in ["{", "[]", "3", "\"\"", r#"{"noSuchArgument": 1}"#, "\u{0}"] {
        let ToolOutput { text, is_error } = tool.call(context, bad).await;
        let name = &tool.spec().name;
        assert!(is_error && !text.trim().is_empty(), "`{name}` accepts {bad:?}: {text}");
    }
}

/// A call of a stopped run ends by itself.
async fn check_stopped(tool: &dyn Tool, context: &ToolContext, valid: &str) {
    let stopped = context.clone();
    stopped.cancel.cancel();
    let name = &tool.spec().name;
    let call = tokio::time::timeout(STOPPED_WITHIN, tool.call(&stopped, valid)).await;
    assert!(call.is_ok(), "`{name}` does not answer after its run was stopped");
}
