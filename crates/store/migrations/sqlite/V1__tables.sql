-- V1: the tables.
--
-- Stored are facts: what was asked, what was done, when, and what a run waits for. States that
-- could lie ("running", "idle") are derived in the views of V2.
--
-- Every enumeration and every implication between columns is a constraint, so that a bug in our
-- code is an error of the database and not a wrong row. Times are milliseconds since the epoch.
-- Ids are text: a prefix, then a UUIDv7, so they sort by creation.

-- A global lane: a bounded number of runs at a time.
create table lanes (
    name       text    not null primary key check (name in ('main', 'subagent', 'cron')),
    capacity   integer not null check (capacity >= 0),
    -- Rank of the run that was admitted last: what comes later is ranked behind it.
    vtime      integer not null,
    generation integer not null
) strict;

-- One row per start of a gateway. Its lease is what makes "running" true.
create table nodes (
    id             text    not null primary key,
    pid            integer not null,
    version        text    not null,
    state          text    not null check (state in ('up', 'draining', 'down')),
    beat_ms        integer not null,
    lease_until_ms integer not null,
    started_ms     integer not null
) strict;

-- One row per session key: the head of its mailbox.
create table sessions (
    key         text    not null primary key,
    session_id  text    not null unique,
    agent       text    not null,
    owner       text    not null,
    parent_key  text    references sessions (key),
    root_key    text    not null references sessions (key),
    depth       integer not null check (depth >= 0),
    lifecycle   text    not null check (lifecycle in ('open', 'archived')),
    -- No foreign key: the run names the session too, and one of them has to come first.
    open_run    text,
    label       text,
    model       text,
    cwd         text,
    rev         integer not null,
    created_ms  integer not null,
    active_ms   integer not null,
    archived_ms integer,
    constraint archived_has_a_time check ((lifecycle = 'archived') = (archived_ms is not null))
) strict;

-- What has been active lately, for this agent or for all?
create index sessions_by_agent on sessions (agent, active_ms);
create index sessions_by_active on sessions (active_ms);
-- Which sessions did this one ask for?
create index sessions_by_parent on sessions (parent_key) where parent_key is not null;

-- One row per session id: `/new` gives a key another one.
create table transcripts (
    session_id     text    not null primary key,
    session_key    text    not null references sessions (key),
    next_seq       integer not null check (next_seq >= 1),
    episode        integer not null,
    context_tokens integer not null,
    started_ms     integer not null
) strict;

create index transcripts_by_session on transcripts (session_key);

-- A stretch of a transcript that is sent behind one prefix.
create table episodes (
    session_id    text    not null references transcripts (session_id),
    n             integer not null,
    first_seq     integer not null,
    -- Names a blob; null until the first run has pinned it. No foreign key: the blob may be
    -- written after the row, in the same transaction.
    prefix_hash   text,
    prefix_tokens integer not null,
    at_ms         integer not null,
    primary key (session_id, n)
) strict, without rowid;

-- The ledger of detached work. A task ends once, and its announce is the inbox row with the key
-- 'announce:<task>'.
create table tasks (
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
    announce      text    not null check (announce in ('parent', 'none')),
    cleanup       text    not null check (cleanup in ('keep', 'delete')),
    origin        text    not null,
    waited_by     text,
    cancel_ms     integer,
    outcome       text check (outcome in
        ('completed', 'no_result', 'failed', 'timed_out', 'cancelled', 'interrupted')),
    result_hash   text,
    created_ms    integer not null,
    ended_ms      integer,
    constraint ended_has_an_outcome check ((outcome is null) = (ended_ms is null))
) strict;

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

-- One execution of an agent in a session.
create table runs (
    id                text    not null primary key,
    wire_id           text    not null unique,
    session_key       text    not null references sessions (key),
    session_id        text    not null references transcripts (session_id),
    task_id           text    references tasks (id),
    lane              text    not null check (lane in ('main', 'subagent', 'cron')),
    root_key          text    not null references sessions (key),
    phase             text    not null check (phase in
        ('queued', 'preparing', 'awaiting_model', 'awaiting_tools', 'waiting', 'ended')),
    wait_kind         text check (wait_kind in ('children', 'retry')),
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

-- One model call or one tool call of a run. The intent is committed before it is begun. A model
-- call that is tried again is a new step.
create table steps (
    run_id      text    not null references runs (id),
    n           integer not null,
    kind        text    not null check (kind in ('model', 'tool')),
    asked_by    integer,
    name        text,
    call_id     text,
    args_hash   text,
    effect      text check (effect in ('pure', 'idempotent', 'internal', 'probed', 'opaque')),
    state       text    not null check (state in ('intent', 'done', 'failed', 'unknown')),
    result_hash text,
    model       text,
    started_ms  integer not null,
    ended_ms    integer,
    primary key (run_id, n),
    constraint a_tool_step_says_whose_call_it_is check
        ((kind = 'tool') = (asked_by is not null) and (kind = 'tool') = (call_id is not null)),
    constraint over_has_a_time check ((state = 'intent') = (ended_ms is null))
) strict, without rowid;

-- A call of an answer is carried out by one step.
create unique index steps_one_per_call on steps (run_id, asked_by, call_id) where kind = 'tool';
-- What was out when the node was lost?
create index steps_open on steps (run_id, n) where state = 'intent';

-- What a session has been given. A row is written before its sender is told `accepted`, and a
-- child's announce in the transaction that ends its task, so a crash leaves both or neither.
create table inbox (
    seq         integer not null primary key,
    id          text    not null unique,
    session_key text    not null references sessions (key),
    kind        text    not null check (kind in
        ('user', 'agent', 'reply', 'announce', 'brief', 'cron', 'hook', 'system')),
    place       text    not null check (place in ('steer', 'own', 'merge', 'hold')),
    idem_key    text    not null,
    body_hash   text    not null,
    body        text    not null,
    tokens      integer not null,
    origin      text    not null,
    task_id     text    references tasks (id),
    state       text    not null check (state in
        ('queued', 'consumed', 'dropped', 'cancelled', 'dead')),
    -- No foreign key: the run of a brief is minted with the row, and written after it.
    run_id      text,
    timeout_ms  integer,
    at_ms       integer not null,
    done_ms     integer,
    -- A redelivered message, and a second announce of one task, are errors of the database.
    constraint one_row_per_input unique (session_key, idem_key),
    constraint done_has_a_time check ((state <> 'queued') = (done_ms is not null)),
    constraint consumed_names_the_run check (state <> 'consumed' or run_id is not null),
    constraint task_rows_name_it check ((kind in ('announce', 'brief')) = (task_id is not null))
) strict;

-- A session that reaches a model boundary asks: what is waiting for me, oldest first?
create index inbox_waiting on inbox (session_key, seq) where state = 'queued';
create index inbox_dead on inbox (at_ms) where state = 'dead';

-- Transcripts. Append only, numbered without a gap.
create table entries (
    session_id text    not null references transcripts (session_id),
    seq        integer not null check (seq >= 1),
    run_id     text    not null references runs (id),
    step_n     integer,
    kind       text    not null check (kind in
        ('user', 'agent', 'reply', 'announce', 'brief', 'cron', 'hook', 'system', 'assistant',
         'tool_result')),
    call_id    text,
    body       text    not null,
    tokens     integer not null,
    at_ms      integer not null,
    primary key (session_id, seq),
    constraint work_names_its_step check
        ((kind in ('assistant', 'tool_result')) = (step_n is not null)),
    constraint a_result_names_its_call check ((kind = 'tool_result') = (call_id is not null))
) strict;

-- A step writes one entry: an answer has one text, and a call exactly one result.
create unique index entries_one_per_step on entries (run_id, step_n) where step_n is not null;

create trigger entries_have_no_gap before insert on entries
when new.seq <> (select coalesce(max(seq), 0) + 1 from entries where session_id = new.session_id)
begin
    select raise(abort, 'the transcript would get a gap');
end;

create trigger entries_are_append_only before update on entries
begin
    select raise(abort, 'a transcript is append only');
end;

-- Every wait of the system; the earliest is the driver's only alarm.
create table timers (
    kind    text    not null check (kind in ('retry', 'yield_timeout', 'deadline', 'debounce')),
    subject text    not null,
    due_ms  integer not null,
    primary key (kind, subject)
) strict, without rowid;

create index timers_due on timers (due_ms, kind, subject);

-- What each model call cost. No foreign keys: deleting a session changes no total.
create table ledger (
    id          integer not null primary key,
    run_id      text    not null,
    step_n      integer not null,
    session_key text    not null,
    session_id  text    not null,
    agent       text    not null,
    task_id     text,
    root_key    text    not null,
    model       text    not null,
    input       integer not null,
    output      integer not null,
    cache_read  integer not null,
    cache_write integer not null,
    estimated   integer not null check (estimated in (0, 1)),
    at_ms       integer not null,
    -- A call is paid for once.
    constraint one_row_per_call unique (run_id, step_n)
) strict;

-- What has this session used? Answered from the index alone.
create index ledger_by_session on ledger (session_key, input, output, cache_read, cache_write);
create index ledger_by_root on ledger (root_key);

create trigger ledger_is_never_changed before update on ledger
begin
    select raise(abort, 'the ledger is append only');
end;

create trigger ledger_is_never_deleted before delete on ledger
begin
    select raise(abort, 'the ledger is append only');
end;

-- History: at least one line per event, and the cursor of whoever watches.
create table journal (
    seq      integer not null primary key,
    kind     text    not null,
    subject  text    not null,
    root_key text,
    detail   text    not null,
    at_ms    integer not null
) strict;

-- Bodies under the hash of their content.
create table blobs (
    hash  text    not null primary key,
    bytes integer not null,
    data  text    not null
) strict;
