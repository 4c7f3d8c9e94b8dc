//! Flows, in each store: what is written is read, and lists hold what they should.

use machine::rows::{FlowNodeState, Outcome};
use types::{FlowId, Timestamp};

use crate::bench::on_each_store;
use crate::rows::{self, key, plant, task_id, uuid};

fn id(n: u128) -> FlowId {
    FlowId::new(uuid(n))
}

#[test]
fn a_flow_is_read_back_with_what_its_nodes_wait_for() {
    on_each_store(&[|state| {
        plant(state, 4);
        let tx = state.tx();
        tx.put_task(&rows::flow_task(2));
        // The order of the declaration is not that of the names, nor that of the graph.
        let nodes = [
            rows::flow_node(2, 0, &[2]),
            rows::flow_node(2, 1, &[0, 2]),
            rows::flow_node(2, 2, &[]),
            rows::flow_node(2, 10, &[0, 1, 2]),
        ];
        tx.add_flow(&rows::flow(2), &nodes);
        assert_eq!(tx.flow(id(2)), Some(rows::flow(2)));
        assert_eq!(tx.flow(id(3)), None);
        assert_eq!(tx.flow_nodes(id(2)), nodes);
        assert_eq!(tx.flow_nodes(id(3)), []);

        let mut node = nodes[2].clone();
        tx.put_task(&rows::node_task(3, 2));
        (node.state, node.attempt) = (FlowNodeState::Running, 1);
        node.task = Some(task_id(3));
        tx.put_flow_node(&node);
        assert_eq!(tx.flow_nodes(id(2))[2], node);
        node.state = FlowNodeState::Failed;
        node.error = Some("no such model".to_owned());
        tx.put_flow_node(&node);
        assert_eq!(tx.flow_nodes(id(2))[2], node);
    }]);
}

#[test]
fn a_flow_is_one_child_and_takes_the_room_of_all_its_nodes() {
    on_each_store(&[|state| {
        plant(state, 5);
        let tx = state.tx();
        tx.put_task(&rows::flow_task(2));
        tx.add_flow(&rows::flow(2), &[rows::flow_node(2, 0, &[]), rows::flow_node(2, 1, &[0])]);
        assert_eq!(tx.open_tasks_of_tree(&key(1)), 3, "itself and two nodes to come");

        tx.put_task(&rows::node_task(3, 2));
        let running = machine::rows::FlowNode {
            state: FlowNodeState::Running,
            task: Some(task_id(3)),
            ..rows::flow_node(2, 0, &[])
        };
        tx.put_flow_node(&running);
        assert_eq!(tx.open_tasks_of_tree(&key(1)), 3, "one of them is there");
        assert_eq!(tx.open_children(&key(1)), [task_id(2)], "the flow, and not its node");
        assert_eq!(tx.count_open_children(&key(1)), 1);
        assert_eq!(tx.task_of_session(&key(1)), None, "no session carries a flow");
        assert_eq!(tx.task_of_session(&key(3)), Some(task_id(3)));
    }]);
}

#[test]
fn open_flows_are_found_a_page_at_a_time() {
    on_each_store(&[|state| {
        plant(state, 6);
        let tx = state.tx();
        for n in [2, 3, 4] {
            tx.put_task(&rows::flow_task(n));
            tx.add_flow(&rows::flow(n), &[rows::flow_node(n, 0, &[])]);
        }
        tx.put_task(&rows::node_task(5, 3));
        assert_eq!(tx.open_flows(None, 9), [id(2), id(3), id(4)]);
        assert_eq!(tx.open_flows(None, 2), [id(2), id(3)]);
        assert_eq!(tx.open_flows(Some(id(3)), 2), [id(4)]);
        let mut ended = rows::flow_task(3);
        (ended.outcome, ended.ended) = (Some(Outcome::Failed), Some(Timestamp(9)));
        tx.put_task(&ended);
        assert_eq!(tx.open_flows(None, 9), [id(2), id(4)]);
    }]);
}
