//! A file with a declared flow: JSON5, read as the configuration is, with errors that point at
//! their line.

use std::path::Path;

use machine::flow::declare::{self, Bounds};
use serde_json::{Map, Number, Value};
use types::{FlowFault, FlowRequest};

use crate::config::Problem;
use crate::config::document::{Document, Entry, Node, Value as Tree};
use crate::config::key_path::{KeyPath, Step};

/// Reads the file, and looks whether its graph can be carried out. The gateway looks again, with
/// its own limits.
pub fn read(path: &Path) -> anyhow::Result<FlowRequest> {
    let shown = path.display();
    let text = match path == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| anyhow::anyhow!("cannot read {shown}: {error}"))?;
    parse(&text).map_err(|problem| anyhow::anyhow!("{shown}: {problem}"))
}

fn parse(text: &str) -> Result<FlowRequest, Problem> {
    let mut document = Document::parse(Some(text))?;
    if !document.problems.is_empty() {
        return Err(document.problems.remove(0));
    }
    let at = |fault: FlowFault| {
        let place = place(&document.entries, &fault.path);
        Problem { place, key: fault.path, message: fault.why }
    };
    let flow = FlowRequest::read(object(&document.entries)).map_err(at)?;
    let bounds = Bounds { tasks_max: u32::MAX, brief_bytes_max: usize::MAX };
    declare::check(&flow, bounds).map_err(at)?;
    Ok(flow)
}

fn object(entries: &[Entry]) -> Value {
    let fields = entries.iter().map(|entry| (entry.key.clone(), plain(&entry.node)));
    Value::Object(fields.collect::<Map<String, Value>>())
}

fn plain(node: &Node) -> Value {
    match &node.value {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Text(text) => Value::String(text.clone()),
        Tree::List(items) => items.iter().map(plain).collect(),
        Tree::Object(entries) => object(entries),
        Tree::Number(text) => match node.whole_number() {
            Some(number) => Value::Number(number.into()),
            // What is no number in JSON stays text, and is refused where a number is wanted.
            None => text
                .parse()
                .ok()
                .and_then(Number::from_f64)
                .map_or_else(|| Value::String(text.clone()), Value::Number),
        },
    }
}

/// Where in the file a path leads, as far as it is there.
fn place(entries: &[Entry], path: &str) -> Option<crate::config::Place> {
    let path = KeyPath::parse(path)?;
    let mut found = None;
    let mut here: Option<&Node> = None;
    for step in path.steps() {
        let inside = match (step, here.map(|node| &node.value)) {
            (Step::Key(key), None) => entries.iter().find(|entry| entry.key == *key),
            (Step::Key(key), Some(Tree::Object(entries))) => {
                entries.iter().find(|entry| entry.key == *key)
            }
            (Step::Index(i), Some(Tree::List(items))) => {
                here = items.get(*i);
                found = here.map(|node| node.place).or(found);
                continue;
            }
            _ => None,
        };
        let Some(entry) = inside else { break };
        found = Some(entry.place);
        here = Some(&entry.node);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_json5() {
        let flow = parse(
            "// a comment\n{ name: 'f', maxParallel: 0x2, tasks: [\n  { id: 'a', task: 'x' },\n  \
             { id: 'b', task: 'y', dependsOn: ['a'], timeoutSeconds: 1e2 },\n] }",
        );
        let flow = flow.unwrap();
        assert_eq!((flow.tasks.len(), flow.max_parallel), (2, Some(2)));
        assert_eq!(flow.tasks[1].timeout, Some(std::time::Duration::from_secs(100)));
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_line() {
        let table = [
            ("", "line 1, column 1: expected an object `{ … }`, got nothing"),
            ("{ name: 'f' tasks: [] }", "line 1, column 12: not JSON5: "),
            ("{ name: 'f', name: 'g' }", "line 1, column 14: `name`: is written twice"),
            ("{ tasks: [] }", "missing field `name`"),
            (
                "{ name: 'f',\n tasks: [{ id: 'a', task: 'x', budget: { eur: 1 } }] }",
                "line 2, column 42: `tasks[0].budget.eur`: unknown field `eur`",
            ),
            (
                "{ name: 'f', tasks: [\n{ id: 'a', task: 'x', dependsOn: ['b'] },\n\
              { id: 'b', task: 'x', dependsOn: ['a'] }] }",
                "line 2, column 23: `tasks[0].dependsOn`: is a cycle, so none of it could ever start: \
              a → b → a",
            ),
            (
                "{ name: 'f', tasks: [{ id: 'a', task: 'x', dependsOn: [\n 'c'] }] }",
                "line 2, column 2: `tasks[0].dependsOn[0]`: no task `c` in this flow (there are: a)",
            ),
            (
                "{ name: 'f', tasks: [{ id: 'a', task: 'x', retries: -1 }] }",
                "line 1, column 44: `tasks[0].retries`: invalid",
            ),
        ];
        for (text, told) in table {
            let problem = parse(text).unwrap_err().to_string();
            assert!(problem.starts_with(told), "{text}: {problem}");
        }
    }
}
