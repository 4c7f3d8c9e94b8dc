-- V21: what a session waits for.
--
-- The ids of the tasks whose end it waits for, or of the messages to which it waits for an answer,
-- with a space between them. What `Query::wait` says of the same run.

drop view v_sessions;
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
    case when newest.activity = 'waiting' then (
        select group_concat(id, ' ') from (
            select tasks.id from tasks
                where newest.wait_kind = 'children' and tasks.waited_by = newest.id
                and tasks.requester_key = sessions.key and tasks.ended_ms is null
            union all
            select inbox.id from steps
                join inbox on inbox.id = steps.waits_on
                left join runs on runs.id = inbox.run_id
                where steps.run_id = newest.id and case newest.wait_kind
                    when 'reply' then steps.state = 'waiting'
                    when 'children' then
                        (inbox.state = 'queued'
                            or inbox.state = 'consumed' and runs.phase <> 'ended')
                        and not exists (select 1 from tasks
                            where tasks.waited_by = newest.id
                            and tasks.requester_key = sessions.key and tasks.ended_ms is null)
                    else false
                end
            order by 1))
    end as waits_for,
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
                || 'with sessions_send rather than starting another.'
        else 'The last run was ended before it had answered. The session is alive: continue it '
            || 'with sessions_send rather than starting another.'
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
        order by runs.ended_ms desc, runs.id desc limit 1))
where sessions.deleted_ms is null;
