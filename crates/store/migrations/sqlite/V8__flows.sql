-- V8: declared flows.
--
-- A flow is a task that has no run: who asked for it, its announce, its stop and its outcome are
-- in its row of `tasks`. Here is what is declared: the flow's bounds, its nodes, and which of them
-- wait for which. What a node may do next follows from the states of the others.

create table flows (
    id              text    not null primary key,
    task_id         text    not null unique references tasks (id),
    name            text    not null,
    max_parallel    integer not null check (max_parallel >= 1),
    on_failure      text    not null check (on_failure in ('stop', 'continue')),
    -- Names a blob: the declaration, as JSON.
    definition_hash text    not null,
    created_ms      integer not null
) strict;

create table flow_nodes (
    flow_id     text    not null references flows (id),
    node        text    not null,
    -- Its place in the declaration.
    place       integer not null check (place >= 0),
    agent       text    not null,
    -- Names a blob.
    brief_hash  text    not null,
    label       text,
    session_key text,
    access      text    not null check (access in ('full', 'read-only')),
    model       text,
    retries     integer not null check (retries >= 0),
    timeout_ms  integer,
    state       text    not null check (state in
        ('pending', 'running', 'completed', 'failed', 'skipped', 'cancelled')),
    attempt     integer not null check (attempt >= 0),
    -- The task of the last attempt.
    task_id     text    references tasks (id),
    error       text,
    primary key (flow_id, node),
    constraint one_node_per_place unique (flow_id, place),
    constraint work_has_a_task check
        (state not in ('running', 'completed', 'cancelled') or task_id is not null)
) strict, without rowid;

-- `from_node` must have completed before `to_node` starts.
create table flow_edges (
    flow_id   text    not null,
    from_node text    not null,
    to_node   text    not null,
    primary key (flow_id, to_node, from_node),
    foreign key (flow_id, from_node) references flow_nodes (flow_id, node),
    foreign key (flow_id, to_node) references flow_nodes (flow_id, node)
) strict, without rowid;

-- Which flows are open below this root, and which at all?
create index tasks_open_flows on tasks (flow_id) where kind = 'flow' and ended_ms is null;

-- A flow has no run: what it does is what a run does that waits for its children.
drop view v_tasks;
create view v_tasks as
select
    tasks.id,
    tasks.kind,
    tasks.task_name,
    tasks.label,
    tasks.requester_key,
    tasks.parent_id,
    tasks.root_key,
    tasks.depth,
    tasks.session_key,
    tasks.run_id,
    tasks.flow_id,
    tasks.node,
    tasks.attempt,
    case
        when tasks.kind <> 'flow' then coalesce(v_runs.activity, 'idle')
        when tasks.outcome is null then 'waiting'
        else 'idle'
    end as activity,
    case when tasks.kind = 'flow' and tasks.outcome is null then 'children'
        else v_runs.wait_kind
    end as wait_kind,
    case
        when tasks.kind <> 'flow' then coalesce(v_runs.last_turn, 'none')
        when tasks.outcome is null then 'waiting_for_response'
        when tasks.outcome = 'completed' then 'agent_responded'
        when tasks.outcome in ('no_result', 'timed_out', 'cancelled') then 'halted'
        else 'interrupted'
    end as last_turn,
    case
        when tasks.kind <> 'flow' then coalesce(v_runs.task_status, 'unknown')
        when tasks.outcome is null then 'in_progress'
        when tasks.outcome = 'completed' then 'completed'
        when tasks.outcome = 'cancelled' then 'cancelled'
        when tasks.outcome in ('failed', 'timed_out') then 'failed'
        else 'unknown'
    end as task_status,
    tasks.outcome,
    tasks.cancel_ms is not null as stopped,
    v_runs.error,
    v_runs.tokens,
    datetime(tasks.created_ms / 1000, 'unixepoch') as created_at,
    datetime(tasks.ended_ms / 1000, 'unixepoch') as ended_at
from tasks
left join v_runs on v_runs.id = tasks.run_id;

create view v_flows as
select
    flows.id,
    flows.task_id,
    flows.name,
    tasks.requester_key,
    v_tasks.activity,
    v_tasks.task_status,
    tasks.outcome,
    flows.max_parallel,
    flows.on_failure,
    (select count(*) from flow_nodes where flow_id = flows.id) as nodes,
    (select count(*) from flow_nodes where flow_id = flows.id and state = 'completed') as completed,
    (select count(*) from flow_nodes where flow_id = flows.id and state = 'running') as running,
    (select count(*) from flow_nodes where flow_id = flows.id
        and state in ('failed', 'skipped', 'cancelled')) as lost,
    v_tasks.created_at,
    v_tasks.ended_at
from flows
join tasks on tasks.id = flows.task_id
join v_tasks on v_tasks.id = flows.task_id;
