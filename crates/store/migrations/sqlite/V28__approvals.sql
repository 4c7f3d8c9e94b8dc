-- V28: calls that a person has to allow, and what was allowed for good.

create table approvals (
    id          text    not null primary key,
    run_id      text    not null references runs (id),
    step_n      integer not null,
    session_key text    not null,
    -- The head of its tree, where a person is.
    root_key    text    not null,
    origin      text    not null,
    tool        text    not null,
    -- As far as it is shown; all of it is in the transcript.
    command     text    not null,
    -- What "always" would allow, as a JSON array of patterns.
    patterns    text    not null,
    state       text    not null
        check (state in ('pending', 'allowed', 'denied', 'expired', 'cancelled')),
    decided_by  text,
    asked_ms    integer not null,
    expires_ms  integer not null,
    decided_ms  integer,
    unique (run_id, step_n),
    constraint an_end_has_a_time check ((state = 'pending') = (decided_ms is null))
) strict, without rowid;

-- What waits, in this tree or at all?
create index approvals_pending on approvals (root_key, asked_ms, id) where state = 'pending';

-- What a person has allowed an agent for good.
create table grants (
    agent   text    not null,
    pattern text    not null,
    by      text    not null,
    at_ms   integer not null,
    primary key (agent, pattern)
) strict, without rowid;

-- More words in two constraints, and a wider one, in the text of the schema: see V19. A tool's step
-- may wait for a person instead of a message.
pragma writable_schema = on;
update sqlite_schema
set sql = replace(sql, '''reply'', ''gate'', ''budget''',
    '''reply'', ''gate'', ''budget'', ''approval''')
where type = 'table' and name = 'runs';
update sqlite_schema
set sql = replace(sql, '''archive'',', '''approval'', ''archive'',')
where type = 'table' and name = 'timers';
update sqlite_schema
set sql = replace(sql, 'state <> ''waiting'' or waits_on is not null',
    'state <> ''waiting'' or kind = ''tool''')
where type = 'table' and name = 'steps';
pragma writable_schema = reset;
