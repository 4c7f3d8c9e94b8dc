//! Can a declared flow be carried out at all? Asked before anything of it is stored.

use std::collections::BTreeMap;

use types::flow::RETRIES_MAX;
use types::{FlowFault, FlowRequest, NodeName};

/// Longest name and longest label, in bytes: they stand in lists.
const NAME_BYTES_MAX: usize = 512;

/// What a flow may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `agents.defaults.subagents.maxTasksPerTree`, which holds the flow itself, too.
    pub tasks_max: u32,
    pub brief_bytes_max: usize,
}

/// Looks for what is wrong with a declaration: the first fault from above.
pub fn check(request: &FlowRequest, bounds: Bounds) -> Result<(), FlowFault> {
    if request.name.trim().is_empty() {
        return Err(fault("name", "is empty; it is the title of the flow"));
    }
    if request.name.len() > NAME_BYTES_MAX {
        return Err(fault("name", format!("has more than {NAME_BYTES_MAX} bytes")));
    }
    if request.tasks.is_empty() {
        return Err(fault("tasks", "is empty; a flow has one task at least"));
    }
    let (count, max) = (request.tasks.len(), bounds.tasks_max as usize);
    if count + 1 > max {
        let why = format!(
            "has {count} tasks, which with the flow itself are {}; \
             agents.defaults.subagents.maxTasksPerTree is {max}",
            count + 1
        );
        return Err(fault("tasks", why));
    }
    if request.max_parallel == Some(0) {
        return Err(fault("maxParallel", "must be 1 at least; left out, all that can run do"));
    }
    let places = places(request)?;
    for i in 0..count {
        check_task(request, i, &places, bounds)?;
    }
    match cycle(request, &places) {
        None => Ok(()),
        Some(nodes) => {
            let at = places[&nodes[0]];
            let path: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
            let why = format!("is a cycle, so none of it could ever start: {}", path.join(" → "));
            Err(fault(format!("tasks[{at}].dependsOn"), why))
        }
    }
}

fn fault(path: impl Into<String>, why: impl Into<String>) -> FlowFault {
    FlowFault { path: path.into(), why: why.into() }
}

/// The place of each task by its name, which no other has.
fn places(request: &FlowRequest) -> Result<BTreeMap<NodeName, usize>, FlowFault> {
    let mut places = BTreeMap::new();
    for (i, task) in request.tasks.iter().enumerate() {
        if let Some(first) = places.insert(task.id.clone(), i) {
            let why = format!("`{}` is the id of tasks[{first}], too", task.id);
            return Err(fault(format!("tasks[{i}].id"), why));
        }
    }
    Ok(places)
}

fn check_task(
    request: &FlowRequest,
    i: usize,
    places: &BTreeMap<NodeName, usize>,
    bounds: Bounds,
) -> Result<(), FlowFault> {
    let task = &request.tasks[i];
    let at = |field: &str| format!("tasks[{i}].{field}");
    if task.task.trim().is_empty() {
        return Err(fault(at("task"), "is empty; it is the whole brief of the task"));
    }
    let (bytes, max) = (task.task.len(), bounds.brief_bytes_max);
    if bytes > max {
        return Err(fault(at("task"), format!("has {bytes} bytes; the limit is {max}")));
    }
    if task.label.as_ref().is_some_and(|label| label.len() > NAME_BYTES_MAX) {
        return Err(fault(at("label"), format!("has more than {NAME_BYTES_MAX} bytes")));
    }
    if task.retries > RETRIES_MAX {
        return Err(fault(
            at("retries"),
            format!("is {}; the limit is {RETRIES_MAX}", task.retries),
        ));
    }
    for (k, needed) in task.depends_on.iter().enumerate() {
        if !places.contains_key(needed) {
            let known: Vec<&str> = request.tasks.iter().map(|task| task.id.as_str()).collect();
            let why = format!("no task `{needed}` in this flow (there are: {})", known.join(", "));
            return Err(fault(at(&format!("dependsOn[{k}]")), why));
        }
        if task.depends_on[..k].contains(needed) {
            return Err(fault(at(&format!("dependsOn[{k}]")), format!("names `{needed}` twice")));
        }
    }
    Ok(())
}

/// Finds a circle of dependencies: its nodes, with the first once more at the end.
fn cycle(request: &FlowRequest, places: &BTreeMap<NodeName, usize>) -> Option<Vec<NodeName>> {
    // What can never be counted down lies on a circle, or behind one.
    let mut left: Vec<bool> = vec![true; request.tasks.len()];
    loop {
        let free = |i: &usize| {
            let needs = &request.tasks[*i].depends_on;
            left[*i] && needs.iter().all(|needed| !left[places[needed]])
        };
        let Some(i) = (0..left.len()).find(free) else { break };
        left[i] = false;
    }
    let mut at = left.iter().position(|left| *left)?;
    // Each of those left needs another one that is left: going on must come back.
    let mut seen: Vec<usize> = Vec::new();
    while !seen.contains(&at) {
        seen.push(at);
        let needs = &request.tasks[at].depends_on;
        at = needs.iter().map(|needed| places[needed]).find(|needed| left[*needed])?;
    }
    let start = seen.iter().position(|node| *node == at)?;
    let mut nodes: Vec<NodeName> =
        seen[start..].iter().map(|node| request.tasks[*node].id.clone()).collect();
    nodes.push(nodes[0].clone());
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use types::FlowTask;

    use super::*;

    const BOUNDS: Bounds = Bounds { tasks_max: 6, brief_bytes_max: 100 };

    /// `"a; b: a; c: a b"`: names, and what they depend on.
    fn flow(graph: &str) -> FlowRequest {
        let task = |text: &str| {
            let (id, needs) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
            let mut task = FlowTask::of(id.parse().unwrap(), "work");
            task.depends_on = needs.split_whitespace().map(|id| id.parse().unwrap()).collect();
            task
        };
        let tasks = graph.split(';').filter(|text| !text.trim().is_empty()).map(task);
        FlowRequest::of("f", tasks.collect())
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_with_its_place() {
        let changed = |change: fn(&mut FlowRequest)| {
            let mut flow = flow("a; b: a");
            change(&mut flow);
            flow
        };
        let table = [
            (flow("a"), ""),
            (flow("a; b: a; c: a; d: b c"), ""),
            (flow("b: a; a"), ""),
            (flow(""), "`tasks`: is empty"),
            (
                flow("a;b;c;d;e;f"),
                "`tasks`: has 6 tasks, which with the flow itself are 7; \
                agents.defaults.subagents.maxTasksPerTree is 6",
            ),
            (flow("a; b; a"), "`tasks[2].id`: `a` is the id of tasks[0], too"),
            (
                flow("a; b: c"),
                "`tasks[1].dependsOn[0]`: no task `c` in this flow (there are: a, b)",
            ),
            (flow("a; b: a a"), "`tasks[1].dependsOn[1]`: names `a` twice"),
            (
                flow("a: a"),
                "`tasks[0].dependsOn`: is a cycle, so none of it could ever start: a → a",
            ),
            (
                flow("x; a: c x; b: a; c: b; d: c"),
                "`tasks[1].dependsOn`: is a cycle, so none of it \
                could ever start: a → c → b → a",
            ),
            (
                flow("d: c; a: b; b: a; c: a"),
                "`tasks[1].dependsOn`: is a cycle, so none of it \
                could ever start: a → b → a",
            ),
            (changed(|f| f.name = " ".into()), "`name`: is empty"),
            (changed(|f| f.max_parallel = Some(0)), "`maxParallel`: must be 1 at least"),
            (changed(|f| f.tasks[1].task = "\n".into()), "`tasks[1].task`: is empty"),
            (changed(|f| f.tasks[1].task = "x".repeat(101)), "`tasks[1].task`: has 101 bytes"),
            (changed(|f| f.tasks[1].retries = 21), "`tasks[1].retries`: is 21; the limit is 20"),
        ];
        for (flow, told) in table {
            let fault = check(&flow, BOUNDS).map_or_else(|f| f.to_string(), |()| String::new());
            assert!(fault.starts_with(told) && fault.is_empty() == told.is_empty(), "{fault}");
        }
    }
}
