-- V4: honest states, for whoever looks with `sqlite3 -readonly` or psql.
--
-- Every word is derived when it is read, from facts and leases, as `machine::status` does it;
-- a test holds the two together. "running" needs a slot and a live lease: after a kill -9 the
-- views say `recovering` at most one lease later, whatever is in the columns.
--
-- `v_runs` reads one table, so that the views which join it look rows up by their key: a view of a
-- join would be computed whole for each question.
--
-- Nothing here is newer than SQLite 3.40, the one of Debian 12.

create view v_runs as
select
    runs.id,
    runs.wire_id,
    runs.session_key,
    runs.task_id,
    runs.lane,
    runs.phase,
    runs.wait_kind,
    case
        when runs.phase = 'ended' then 'idle'
        when runs.phase = 'queued' then 'queued'
        when runs.phase = 'waiting' then 'waiting'
        when exists (select 1 from nodes
            where nodes.id = runs.node_id and nodes.state <> 'down' and nodes.lease_until_ms
                > cast((julianday('now') - 2440587.5) * 86400000 as integer)) then 'running'
        else 'recovering'
    end as activity,
    case
        when runs.phase <> 'ended' then 'waiting_for_response'
        when runs.outcome = 'completed' then 'agent_responded'
        when runs.outcome in ('no_result', 'timed_out', 'cancelled') then 'halted'
        else 'interrupted'
    end as last_turn,
    case
        when runs.phase <> 'ended' then 'in_progress'
        when runs.outcome = 'completed' then 'completed'
        when runs.outcome = 'cancelled' then 'cancelled'
        when runs.outcome in ('failed', 'timed_out') then 'failed'
        else 'unknown'
    end as task_status,
    runs.outcome,
    runs.error_class,
    runs.error,
    runs.recoveries,
    runs.next_step as steps,
    runs.usage_input + runs.usage_output + runs.usage_cache_read + runs.usage_cache_write
        as tokens,
    datetime(runs.queued_ms / 1000, 'unixepoch') as queued_at,
    datetime(runs.started_ms / 1000, 'unixepoch') as started_at,
    datetime(runs.ended_ms / 1000, 'unixepoch') as ended_at
from runs;

-- The newest run of a session is the open one, else the one that ended last.
create view v_sessions as
select
    sessions.key,
    sessions.session_id,
    sessions.agent,
    sessions.label,
    sessions.parent_key,
    sessions.depth,
    sessions.lifecycle,
    coalesce(newest.activity, 'idle') as activity,
    newest.wait_kind,
    coalesce(newest.last_turn, 'none') as last_turn,
    -- What somebody has said after the last run holds until the next.
    case when newest.last_turn = 'waiting_for_response' then newest.task_status
        else coalesce(sessions.declared, newest.task_status, 'unknown')
    end as task_status,
    sessions.lifecycle = 'open' as resumable,
    case
        when sessions.lifecycle = 'archived'
            then 'The session is archived; it has to be restored before it can receive.'
        when newest.last_turn is null
            then 'The session has not run yet.'
        when newest.last_turn = 'waiting_for_response'
            then 'A run is open. Its result will come by itself.'
        when newest.last_turn = 'agent_responded'
            then 'The last run has answered. The session can be continued.'
        when newest.last_turn = 'interrupted'
            then 'The last run was interrupted by an error. The session is alive: continue it '
                || 'rather than starting another.'
        else 'The last run was ended before it had answered. The session is alive: continue it '
            || 'rather than starting another.'
    end as note,
    (select count(*) from inbox
        where inbox.session_key = sessions.key and inbox.state = 'queued') as queued,
    (select count(*) from tasks
        where tasks.requester_key = sessions.key and tasks.ended_ms is null) as open_children,
    transcripts.context_tokens,
    datetime(sessions.created_ms / 1000, 'unixepoch') as created_at,
    datetime(sessions.active_ms / 1000, 'unixepoch') as active_at
from sessions
left join transcripts on transcripts.session_id = sessions.session_id
left join v_runs as newest on newest.id = coalesce(
    sessions.open_run,
    (select runs.id from runs
        where runs.session_key = sessions.key and runs.phase = 'ended'
        order by runs.ended_ms desc, runs.id desc limit 1));

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
    coalesce(v_runs.activity, 'idle') as activity,
    v_runs.wait_kind,
    coalesce(v_runs.last_turn, 'none') as last_turn,
    coalesce(v_runs.task_status, 'unknown') as task_status,
    tasks.outcome,
    tasks.cancel_ms is not null as stopped,
    v_runs.error,
    v_runs.tokens,
    datetime(tasks.created_ms / 1000, 'unixepoch') as created_at,
    datetime(tasks.ended_ms / 1000, 'unixepoch') as ended_at
from tasks
left join v_runs on v_runs.id = tasks.run_id;

create view v_lanes as
select
    lanes.name,
    lanes.capacity,
    (select count(*) from runs
        where runs.lane = lanes.name and runs.slot is not null) as held,
    (select count(*) from runs
        where runs.lane = lanes.name and runs.phase = 'queued' and runs.rank is not null)
        as queued
from lanes;
