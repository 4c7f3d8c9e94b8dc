//! What a flow does next: which nodes start, which never will, and whether it is over. Pure.
//!
//! # Invariants
//!
//! - A node starts when all that it depends on have completed, and fewer than `maxParallel` run.
//! - What has failed is never counted as done: what depends on it is skipped.
//! - With [`OnFailure::Stop`] nothing starts after a failure; what runs goes on to its end.
//! - A flow is over when nothing runs and nothing can start.

use types::OnFailure;

use crate::rows::{FlowNode, FlowNodeState, Outcome};

/// What comes next; nodes by their index, in the order of the declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    pub skip: Vec<usize>,
    pub start: Vec<usize>,
    /// Nothing runs, and nothing will.
    pub over: Option<Outcome>,
}

impl Next {
    /// Is there nothing to do but to wait for what runs?
    pub fn is_rest(&self) -> bool {
        *self == Next::default()
    }
}

/// Decides what comes next. `stopped`: the flow, or something above it, has been stopped.
pub fn next(nodes: &[FlowNode], parallel: u32, on_failure: OnFailure, stopped: bool) -> Next {
    use FlowNodeState as S;

    let lost = |state: S| matches!(state, S::Failed | S::Skipped | S::Cancelled);
    let mut states: Vec<S> = nodes.iter().map(|node| node.state).collect();
    let failed = states.iter().any(|state| lost(*state));
    let nothing_more = stopped || (failed && on_failure == OnFailure::Stop);
    let mut skip = Vec::new();
    loop {
        let gone = |i: &usize| {
            states[*i] == S::Pending
                && (nothing_more || needs(nodes, *i).any(|needed| lost(states[needed])))
        };
        // One that is skipped may take others with it.
        let Some(i) = (0..nodes.len()).find(gone) else { break };
        states[i] = S::Skipped;
        skip.push(i);
    }
    skip.sort_unstable();
    let running = states.iter().filter(|state| **state == S::Running).count();
    let room = (parallel as usize).saturating_sub(running);
    let ready = |i: &usize| {
        states[*i] == S::Pending && needs(nodes, *i).all(|needed| states[needed] == S::Completed)
    };
    let start: Vec<usize> = (0..nodes.len()).filter(ready).take(room).collect();
    let over = (running == 0 && start.is_empty()).then(|| outcome(&states, stopped));
    Next { skip, start, over }
}

/// Indexes of the nodes that node `i` depends on.
fn needs(nodes: &[FlowNode], i: usize) -> impl Iterator<Item = usize> {
    nodes[i].after.iter().filter_map(|name| nodes.iter().position(|node| node.name == *name))
}

/// The outcome of the whole. A flow of which one task has failed has failed, also if the others
/// went on: whoever asked for it has not got what was asked for.
fn outcome(states: &[FlowNodeState], stopped: bool) -> Outcome {
    match states.iter().all(|state| *state == FlowNodeState::Completed) {
        true => Outcome::Completed,
        false if stopped => Outcome::Cancelled,
        false => Outcome::Failed,
    }
}

/// The state of a node whose last attempt has ended.
pub fn after_attempt(node: &FlowNode, outcome: Outcome, stopped: bool) -> FlowNodeState {
    match outcome {
        Outcome::Completed => FlowNodeState::Completed,
        // Somebody has stopped it: it is not tried again against their will.
        Outcome::Cancelled => FlowNodeState::Cancelled,
        _ if stopped => FlowNodeState::Failed,
        Outcome::NoResult | Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => {
            match node.attempt <= node.retries {
                true => FlowNodeState::Pending,
                false => FlowNodeState::Failed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{Access, AgentId, FlowId, Hash};
    use uuid::Uuid;

    use super::*;

    /// `"a+ b-:a c:a,b"`: names, how they stand, and what they depend on.
    /// `.` pending, `*` running, `+` completed, `-` failed, `~` skipped, `x` cancelled.
    fn nodes(graph: &str) -> Vec<FlowNode> {
        let node = |(place, text): (usize, &str)| {
            let (head, needs) = text.split_once(':').unwrap_or((text, ""));
            let (name, mark) = head.split_at(1);
            FlowNode {
                flow: FlowId::new(Uuid::nil()),
                name: name.parse().unwrap(),
                place: place as u32,
                after: needs
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(|name| name.parse().unwrap())
                    .collect(),
                agent: AgentId::main(),
                brief: Hash::of(""),
                label: None,
                session_key: None,
                access: Access::Full,
                model: None,
                retries: 0,
                timeout_ms: None,
                budget: None,
                state: match mark {
                    "." => FlowNodeState::Pending,
                    "*" => FlowNodeState::Running,
                    "+" => FlowNodeState::Completed,
                    "-" => FlowNodeState::Failed,
                    "~" => FlowNodeState::Skipped,
                    "x" => FlowNodeState::Cancelled,
                    other => panic!("no state is written {other:?}"),
                },
                attempt: 0,
                task: None,
                error: None,
            }
        };
        graph.split_whitespace().enumerate().map(node).collect()
    }

    fn names(nodes: &[FlowNode], which: &[usize]) -> String {
        which.iter().map(|i| nodes[*i].name.as_str()).collect()
    }

    /// The whole decision: a graph, how many may run, and what follows.
    #[test]
    fn what_comes_next() {
        use OnFailure::{Continue, Stop};
        use Outcome::{Cancelled, Completed, Failed};

        #[rustfmt::skip]
        let table = [
            // graph                          parallel  failure  stopped  skip    start  over
            ("a. b. c.",                       9, Stop,     false, "",     "abc", None),
            ("a. b. c.",                       2, Stop,     false, "",     "ab",  None),
            ("a* b. c.",                       2, Stop,     false, "",     "b",   None),
            ("a* b* c.",                       2, Stop,     false, "",     "",    None),
            ("a* b* c.",                       1, Stop,     false, "",     "",    None),
            ("a. b.:a c.:a",                   9, Stop,     false, "",     "a",   None),
            ("a* b.:a c.:a",                   9, Stop,     false, "",     "",    None),
            ("a+ b.:a c.:a",                   9, Stop,     false, "",     "bc",  None),
            ("a+ b*:a c.:a,b",                 9, Stop,     false, "",     "",    None),
            ("a+ b+:a c.:a,b",                 9, Stop,     false, "",     "c",   None),
            ("c.:b b.:a a+",                   9, Stop,     false, "",     "b",   None),
            ("a+ b+:a c+:a,b",                 9, Stop,     false, "",     "",    Some(Completed)),
            // A failure, and nothing else starts; what runs goes on.
            ("a- b. c*",                       9, Stop,     false, "b",    "",    None),
            ("a- b. c+",                       9, Stop,     false, "b",    "",    Some(Failed)),
            ("ax b. c+",                       9, Stop,     false, "b",    "",    Some(Failed)),
            // Only what depends on it is skipped, and what depends on that.
            ("a- b. c.:a d.:c e.:b",           9, Continue, false, "cd",   "b",   None),
            ("d.:c c.:a a- b*",                9, Continue, false, "dc",   "",    None),
            ("a- b+ c~:a d.:c e.:b",           1, Continue, false, "d",    "e",   None),
            ("a- b+ c.:a",                     9, Continue, false, "c",    "",    Some(Failed)),
            ("a+ b-:a c+:a",                   9, Continue, false, "",     "",    Some(Failed)),
            // Stopped.
            ("a* b. c.:a",                     9, Stop,     true,  "bc",   "",    None),
            ("ax b. c.:a",                     9, Continue, true,  "bc",   "",    Some(Cancelled)),
            ("a. b.",                          9, Continue, true,  "ab",   "",    Some(Cancelled)),
            // It was over before the stop came.
            ("a+ b+",                          9, Stop,     true,  "",     "",    Some(Completed)),
        ];

        for (graph, parallel, on_failure, stopped, skip, start, over) in table {
            let nodes = nodes(graph);
            let next = next(&nodes, parallel, on_failure, stopped);
            let found = (names(&nodes, &next.skip), names(&nodes, &next.start), next.over);
            assert_eq!(found, (skip.to_owned(), start.to_owned(), over), "{graph}");
        }
    }

    /// All graphs of up to four nodes, however they stand: what is done takes nodes that wait, each
    /// once, or ends the flow; so a flow is at rest after as many rounds as there are nodes.
    #[test]
    fn each_round_takes_a_node_that_waits() {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let mut rounds = 0;
        for count in 1..=NAMES.len() {
            let pairs: Vec<(usize, usize)> =
                (0..count).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
            for graph in 0..1_u32 << pairs.len() {
                let edges = pairs.iter().enumerate().filter(|(bit, _)| graph >> bit & 1 == 1);
                let mut after = vec![Vec::new(); count];
                edges.for_each(|(_, (i, j))| after[*i].push(NAMES[*j]));
                for states in 0..6_usize.pow(count as u32) {
                    let text: Vec<String> = (0..count)
                        .map(|i| {
                            let mark = b".*+-~x"[states / 6_usize.pow(i as u32) % 6] as char;
                            format!("{}{mark}:{}", NAMES[i], after[i].join(","))
                        })
                        .collect();
                    rounds += 1;
                    takes_what_waits(&text.join(" "), rounds);
                }
            }
        }
    }

    fn takes_what_waits(graph: &str, n: u32) {
        let nodes = nodes(graph);
        let on_failure = OnFailure::ALL[n as usize % OnFailure::ALL.len()];
        for (parallel, stopped) in [(1, false), (9, false), (1, true)] {
            let Next { skip, start, over } = next(&nodes, parallel, on_failure, stopped);
            let mut taken: Vec<usize> = skip.iter().chain(&start).copied().collect();
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), skip.len() + start.len(), "{graph}: one node is taken twice");
            assert!(taken.iter().all(|i| nodes[*i].is_pending()), "{graph}: {taken:?}");
            let open = |node: &FlowNode| node.is_pending() || node.state == FlowNodeState::Running;
            let left = nodes.iter().filter(|node| open(node)).count() - skip.len();
            assert_eq!(over.is_some(), left == 0, "{graph}: {left} are open, and it is {over:?}");
        }
    }

    #[test]
    fn an_attempt_that_fails_is_made_again_as_often_as_was_asked() {
        use FlowNodeState::{Cancelled, Completed, Failed, Pending};

        #[rustfmt::skip]
        let table = [
            // attempt, retries, outcome, stopped, state
            (1, 0, Outcome::Completed,   false, Completed),
            (1, 0, Outcome::Failed,      false, Failed),
            (1, 1, Outcome::Failed,      false, Pending),
            (2, 1, Outcome::Failed,      false, Failed),
            (1, 1, Outcome::NoResult,    false, Pending),
            (1, 1, Outcome::TimedOut,    false, Pending),
            (1, 1, Outcome::Interrupted, false, Pending),
            (1, 1, Outcome::Cancelled,   false, Cancelled),
            (1, 1, Outcome::Failed,      true,  Failed),
            (2, 1, Outcome::Completed,   true,  Completed),
        ];

        for (attempt, retries, outcome, stopped, state) in table {
            let node = FlowNode { attempt, retries, ..nodes("a*").remove(0) };
            let found = after_attempt(&node, outcome, stopped);
            assert_eq!(found, state, "attempt {attempt} of {retries}: {outcome}");
        }
    }
}
