-- V3: rows of orchestration: named and warm sessions, branches, messages between agents.
--
-- A constraint cannot be changed in place, so tables whose words have grown are built anew
-- (https://sqlite.org/lang_altertable.html, section 7); foreign keys are off meanwhile and
-- checked at the end. The views come back in V4.

drop view v_lanes;
drop view v_tasks;
drop view v_sessions;
drop view v_runs;

-- What a session's tools may do to the world, and those of all that it spawns.
alter table sessions add column access text not null default 'full'
    check (access in ('full', 'read-only'));
-- Names the blob with the tool policy that it was made with.
alter table sessions add column policy_hash text;
-- Children of one pool key are alike: agent, model, policy, folder and owner.
alter table sessions add column pool_key text;
alter table sessions add column declared text
    check (declared in ('in_progress', 'completed', 'failed', 'cancelled', 'unknown'));
alter table sessions add column queue_mode text
    check (queue_mode in ('steer', 'followup', 'collect', 'interrupt'));

-- Which idle child of this kind was active last?
create index sessions_pool on sessions (pool_key, active_ms)
    where pool_key is not null and open_run is null and lifecycle = 'open';

-- Entries of another transcript that a branch begins with.
alter table transcripts add column base_id text references transcripts (session_id);
alter table transcripts add column base_first_seq integer;
alter table transcripts add column base_last_seq integer;
alter table transcripts add column ended_ms integer;
alter table transcripts add column end_reason text check (end_reason in ('new', 'reset'));

alter table episodes add column reason text not null default 'start'
    check (reason in ('start', 'pool', 'refresh'));

-- Which session sent it, and how many messages of agents led to it, each caused by the one before?
alter table inbox add column sender_key text;
alter table inbox add column hops integer not null default 0 check (hops >= 0);

-- A redelivered answer finds what its run has taken in.
create index inbox_of_run on inbox (run_id, seq) where state = 'consumed' and kind = 'agent';

create table new_tasks (
    id            text    not null primary key,
    requester_key text    not null references sessions (key),
    parent_id     text    references tasks (id),
    root_key      text    not null references sessions (key),
    depth         integer not null check (depth >= 0),
    session_key   text    not null references sessions (key),
    -- Minted with the task, before the run is written: no foreign key.
    run_id        text    not null unique,
    task_name     text,
    label         text,
    idem_key      text,
    dup_hash      text    not null,
    announce      text    not null check (announce in ('parent', 'person', 'none')),
    cleanup       text    not null check (cleanup in ('keep', 'delete')),
    origin        text    not null,
    waited_by     text,
    cancel_ms     integer,
    outcome       text check (outcome in
        ('completed', 'no_result', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    result_hash   text,
    created_ms    integer not null,
    ended_ms      integer,
    -- Who asked for it, and what carries it. A flow has no run: its nodes' tasks are below it.
    kind          text    not null default 'subagent' check (kind in
        ('subagent', 'cli', 'flow', 'flow_node')),
    -- JSON: what has to be there before it counts as completed.
    deliverables  text,
    attempt       integer not null default 1 check (attempt >= 1),
    flow_id       text,
    node          text,
    constraint ended_has_an_outcome check ((outcome is null) = (ended_ms is null)),
    constraint nodes_name_their_flow check ((kind = 'flow_node') = (node is not null)),
    constraint flows_are_named check ((kind in ('flow', 'flow_node')) = (flow_id is not null))
) strict;

insert into new_tasks (
    id, requester_key, parent_id, root_key, depth, session_key, run_id, task_name, label,
    idem_key, dup_hash, announce, cleanup, origin, waited_by, cancel_ms, outcome,
    result_hash, created_ms, ended_ms)
select
    id, requester_key, parent_id, root_key, depth, session_key, run_id, task_name, label,
    idem_key, dup_hash, announce, cleanup, origin, waited_by, cancel_ms, outcome,
    result_hash, created_ms, ended_ms
from tasks;
drop table tasks;
alter table new_tasks rename to tasks;

-- The same key from the same requester is the same task, for ever.
create unique index tasks_one_per_idem_key on tasks (requester_key, idem_key)
    where idem_key is not null;
-- A name is free again when its task has ended.
create unique index tasks_one_open_per_name on tasks (requester_key, task_name)
    where ended_ms is null and task_name is not null;
-- Which children are open?
create index tasks_children on tasks (requester_key, ended_ms, id);
-- How much is open below this root?
create index tasks_tree on tasks (root_key, ended_ms, id);
create index tasks_by_parent on tasks (parent_id) where parent_id is not null;
-- Which task does this session carry?
create index tasks_by_session on tasks (session_key, id);
-- What was a stop doing when it was cut?
create index tasks_open on tasks (id) where ended_ms is null;

create table new_runs (
    id                text    not null primary key,
    wire_id           text    not null unique,
    session_key       text    not null references sessions (key),
    session_id        text    not null references transcripts (session_id),
    task_id           text    references tasks (id),
    lane              text    not null check (lane in ('main', 'subagent', 'cron')),
    root_key          text    not null references sessions (key),
    phase             text    not null check (phase in
        ('queued', 'preparing', 'awaiting_model', 'awaiting_tools', 'waiting', 'ended')),
    wait_kind         text check (wait_kind in ('children', 'retry', 'reply', 'gate')),
    wait_need         integer not null check (wait_need >= 0),
    rank              integer,
    slot              integer check (slot >= 0),
    node_id           text    references nodes (id),
    -- With the nonce, the fence: a result with another pair belongs to a life that is over.
    gen               integer not null,
    nonce             integer not null,
    next_step         integer not null,
    recoveries        integer not null,
    retries           integer not null,
    model             text    not null,
    origin            text    not null,
    timeout_ms        integer,
    deadline_ms       integer,
    usage_input       integer not null,
    usage_output      integer not null,
    usage_cache_read  integer not null,
    usage_cache_write integer not null,
    outcome           text check (outcome in
        ('completed', 'no_result', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    error_class       text check (error_class in
        ('rate_limit', 'quota', 'overload', 'network', 'invalid_reply', 'auth', 'bad_request',
         'overflow', 'unknown_model', 'internal')),
    error             text,
    queued_ms         integer not null,
    started_ms        integer,
    ended_ms          integer,
    hops              integer not null default 0 check (hops >= 0),
    constraint ended_has_an_outcome check ((phase = 'ended') = (outcome is not null)),
    constraint ended_has_a_time check ((phase = 'ended') = (ended_ms is not null)),
    constraint waiting_says_for_what check ((phase = 'waiting') = (wait_kind is not null)),
    constraint work_holds_a_slot check
        (phase not in ('preparing', 'awaiting_model', 'awaiting_tools') or slot is not null),
    -- An admission takes the slot first and leaves `queued` in the same transaction.
    constraint no_slot_without_work check (slot is null or phase not in ('waiting', 'ended')),
    constraint a_slot_is_held_by_a_node check (slot is null or node_id is not null),
    constraint only_queued_runs_have_a_rank check (rank is null or phase = 'queued')
) strict;

insert into new_runs (
    id, wire_id, session_key, session_id, task_id, lane, root_key, phase, wait_kind,
    outcome, wait_need, rank, slot, node_id, gen, nonce, next_step, recoveries, retries,
    model, origin, timeout_ms, deadline_ms, usage_input, usage_output, usage_cache_read,
    usage_cache_write, error_class, error, queued_ms, started_ms, ended_ms)
select
    id, wire_id, session_key, session_id, task_id, lane, root_key, phase, wait_kind,
    outcome, wait_need, rank, slot, node_id, gen, nonce, next_step, recoveries, retries,
    model, origin, timeout_ms, deadline_ms, usage_input, usage_output, usage_cache_read,
    usage_cache_write, error_class, error, queued_ms, started_ms, ended_ms
from runs;
drop table runs;
alter table new_runs rename to runs;

-- One conversation goes on in one place.
create unique index runs_one_open on runs (session_key) where phase <> 'ended';
create unique index runs_one_per_slot on runs (lane, slot) where slot is not null;
-- Who is next in this lane?
create index runs_queue on runs (lane, rank, id) where phase = 'queued' and rank is not null;
-- Behind whom of the same tree does a run line up?
create index runs_tree_queue on runs (lane, root_key, rank)
    where phase = 'queued' and rank is not null;
-- What did a lost node hold?
create index runs_held on runs (node_id) where slot is not null;
-- What happened last in this session?
create index runs_last on runs (session_key, ended_ms, id) where phase = 'ended';

create table new_steps (
    run_id      text    not null references runs (id),
    n           integer not null,
    kind        text    not null check (kind in ('model', 'tool')),
    asked_by    integer,
    name        text,
    call_id     text,
    args_hash   text,
    effect      text check (effect in ('pure', 'idempotent', 'internal', 'probed', 'opaque')),
    state       text    not null check (state in
        ('waiting', 'intent', 'done', 'failed', 'unknown')),
    result_hash text,
    model       text,
    started_ms  integer not null,
    ended_ms    integer,
    -- The message whose answer a waiting step waits for.
    waits_on    text,
    primary key (run_id, n),
    constraint a_tool_step_says_whose_call_it_is check
        ((kind = 'tool') = (asked_by is not null) and (kind = 'tool') = (call_id is not null)),
    constraint over_has_a_time check
        ((state in ('intent', 'waiting')) = (ended_ms is null)),
    constraint waiting_says_on_what check (state <> 'waiting' or waits_on is not null)
) strict, without rowid;

insert into new_steps (
    run_id, n, kind, asked_by, name, call_id, args_hash, effect, state, result_hash, model,
    started_ms, ended_ms)
select
    run_id, n, kind, asked_by, name, call_id, args_hash, effect, state, result_hash, model,
    started_ms, ended_ms
from steps;
drop table steps;
alter table new_steps rename to steps;

-- A call of an answer is carried out by one step.
create unique index steps_one_per_call on steps (run_id, asked_by, call_id) where kind = 'tool';
-- What was out when the node was lost?
create index steps_open on steps (run_id, n) where state = 'intent';
-- Which step waits for the answer to this message?
create index steps_waiting on steps (waits_on) where state = 'waiting';

create table new_timers (
    kind    text    not null check (kind in
        ('retry', 'yield_timeout', 'deadline', 'debounce', 'deadline_warning', 'reply_timeout',
         'queue_notice', 'gate', 'archive', 'retention')),
    subject text    not null,
    due_ms  integer not null,
    primary key (kind, subject)
) strict, without rowid;

insert into new_timers (
    kind, subject, due_ms)
select
    kind, subject, due_ms
from timers;
drop table timers;
alter table new_timers rename to timers;

create index timers_due on timers (due_ms, kind, subject);
