-- V12: tasks that stand in line in a session with a name.
--
-- A session carries one task at a time. The next one has no run until then: it waits in the
-- session's inbox, and if it is stopped there it never has one..

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
        when v_runs.id is not null then v_runs.activity
        when tasks.outcome is not null then 'idle'
        when tasks.kind = 'flow' then 'waiting'
        else 'queued'
    end as activity,
    case when tasks.kind = 'flow' and tasks.outcome is null then 'children'
        else v_runs.wait_kind
    end as wait_kind,
    case
        when v_runs.id is not null then v_runs.last_turn
        when tasks.outcome is null then 'waiting_for_response'
        when tasks.outcome = 'completed' then 'agent_responded'
        when tasks.outcome in ('no_result', 'timed_out', 'cancelled') then 'halted'
        else 'interrupted'
    end as last_turn,
    case
        when v_runs.id is not null then v_runs.task_status
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
