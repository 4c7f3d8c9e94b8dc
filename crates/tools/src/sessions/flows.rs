//! `flows`: a declared graph of tasks.

use serde_json::{Map, Value};
use types::{FlowRequest, FlowTarget, InternalCall, word_enum};

use super::{NAME_BYTES_MAX, SessionsCall, SessionsRead};
use crate::arguments::{Arguments, Refused};

pub(super) const REFUSED: &[Refused] = &[
    ("flowId", "use `target`"),
    ("taskId", "use `target`"),
    ("dependsOn", "it belongs to each of `tasks`"),
    ("flow", "give `name` and `tasks` beside the `action`"),
];

/// What belongs to a declaration.
const DECLARED: &[&str] =
    &["name", "tasks", "maxParallel", "onFailure", "announce", "budget", "idempotencyKey"];

word_enum! {
    enum Action {
        Start = "start",
        List = "list",
        Show = "show",
        Cancel = "cancel",
    }
}

pub(super) fn parse(arguments: &Arguments) -> Result<SessionsCall, String> {
    let action = arguments.choice("action")?.unwrap_or(Action::List);
    let strange = match action {
        Action::Start => &["target"][..],
        Action::List | Action::Show | Action::Cancel => DECLARED,
    };
    if let Some(name) = strange.iter().find(|name| arguments.says(name)) {
        return Err(format!("`{name}` does not go with the action `{action}`"));
    }
    match action {
        Action::Start => start(arguments),
        Action::List if arguments.says("target") => {
            Err("`target` does not go with the action `list`".to_owned())
        }
        Action::List => Ok(SessionsCall::Read(SessionsRead::FlowsList)),
        Action::Show => {
            Ok(SessionsCall::Read(SessionsRead::FlowsShow { flow: target(arguments)? }))
        }
        Action::Cancel => {
            Ok(SessionsCall::Internal(InternalCall::CancelFlow { target: target(arguments)? }))
        }
    }
}

/// A declaration here and in a file is the same JSON, and read by the same reader.
fn start(arguments: &Arguments) -> Result<SessionsCall, String> {
    let mut declared = Map::new();
    for name in DECLARED.iter().filter(|name| arguments.says(name)) {
        declared.extend(arguments.value(name).map(|value| ((*name).to_owned(), value.clone())));
    }
    if let Some(tasks) = declared.get_mut("tasks").and_then(Value::as_array_mut) {
        // Models write null for what they leave out.
        tasks
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|task| task.retain(|_, value| !value.is_null()));
    }
    let request = FlowRequest::read(Value::Object(declared)).map_err(|fault| fault.to_string())?;
    Ok(SessionsCall::Internal(InternalCall::StartFlow(Box::new(request))))
}

fn target(arguments: &Arguments) -> Result<FlowTarget, String> {
    let text = arguments.message("target", NAME_BYTES_MAX)?.trim();
    text.parse().map_err(|_| {
        format!("`target` must be a flowId `flw_…` or the taskId of a flow; got `{text}`")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse;
    use super::*;

    #[test]
    fn a_flow_is_declared_looked_at_and_cancelled() {
        let call = |arguments: Value| parse("flows", &arguments.to_string());
        let started = call(json!({ "action": "start", "name": "f", "target": "", "maxParallel": 2,
            "tasks": [{ "id": "a", "task": "x" }, { "id": "b", "task": "y", "dependsOn": ["a"],
            "label": null }] }));
        let Ok(SessionsCall::Internal(InternalCall::StartFlow(flow))) = started else {
            panic!("{started:?}")
        };
        assert_eq!((flow.tasks.len(), flow.max_parallel), (2, Some(2)));
        assert_eq!(call(json!({})), Ok(SessionsCall::Read(SessionsRead::FlowsList)));
        let id = "flw_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8";
        let flow = id.parse().unwrap();
        let cancel = SessionsCall::Internal(InternalCall::CancelFlow { target: flow });
        assert_eq!(call(json!({ "action": "cancel", "target": id })), Ok(cancel));
        let show = SessionsCall::Read(SessionsRead::FlowsShow { flow });
        assert_eq!(call(json!({ "action": "show", "target": id })), Ok(show));
    }

    #[test]
    fn a_wrong_call_is_told_what_to_change() {
        let tasks = json!([{ "id": "a", "task": "x", "budget": { "eur": 1 } }]);
        let table = [
            (json!({ "action": "run" }), "`action` must be one of `start`, `list`"),
            (json!({ "action": "start", "name": "f" }), "missing field `tasks`"),
            (
                json!({ "action": "start", "name": "f", "tasks": tasks }),
                "`tasks[0].budget.eur`: unknown",
            ),
            (json!({ "action": "start", "target": "x" }), "`target` does not go with the action"),
            (json!({ "action": "show" }), "`target` is missing"),
            (json!({ "action": "show", "target": "x" }), "`target` must be a flowId"),
            (json!({ "action": "list", "name": "x" }), "`name` does not go with the action"),
            (json!({ "flowId": "x" }), "`flows` does not take `flowId`: use `target`"),
        ];
        for (arguments, told) in table {
            let why = parse("flows", &arguments.to_string()).unwrap_err();
            assert!(why.starts_with(told), "{arguments}: {why}");
        }
    }
}
