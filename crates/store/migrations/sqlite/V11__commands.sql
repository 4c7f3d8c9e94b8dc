-- V11: what people type to the gateway itself, and sessions that are deleted.
--
-- A command is no input of its session: no model ever sees it. It is kept beside the transcript,
-- with its answer, at the place where it was typed, so that a person sees both again, and so that
-- the same idempotency key never stops or spawns twice.

create table commands (
    session_key text    not null references sessions (key),
    idem_key    text    not null,
    session_id  text    not null references transcripts (session_id),
    -- It stands before the entry of this number.
    before_seq  integer not null check (before_seq >= 1),
    text        text    not null,
    answer      text    not null,
    is_error    integer not null check (is_error in (0, 1)),
    -- JSON: the tasks that the answer has numbered, from `#1`.
    listed      text    not null,
    at_ms       integer not null,
    primary key (session_key, idem_key)
) strict;

-- What was typed in this transcript, and where?
create index commands_of_transcript on commands (session_id, before_seq, at_ms);

-- A client that waits for an answer names only the key.
create index commands_by_key on commands (idem_key);

create trigger commands_are_never_changed before update on commands
begin
    select raise(abort, 'a command is kept as it was answered');
end;

-- Rows of a deleted session stay, because tasks, runs and the ledger name them. It is in no list,
-- it cannot be restored, and its key is free for a new conversation.
alter table sessions add column deleted_ms integer;

create index transcripts_live on transcripts (session_key) where ended_ms is null;

-- As in V4, without those that are deleted.
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
        order by runs.ended_ms desc, runs.id desc limit 1))
where sessions.deleted_ms is null;
