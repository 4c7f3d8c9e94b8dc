-- V19: what calls cost, and caps on it.

-- What a call has cost, by the price that was known then; zero if none was.
alter table ledger add column micro_usd integer not null default 0;
alter table ledger add column priced integer not null default 0 check (priced in (0, 1));

-- The counters of one cap: made by the first call under it.
create table budgets (
    scope            text    not null check (scope in ('task', 'session', 'tree', 'agent', 'day')),
    subject          text    not null,
    -- Of a task only: what its spawn has said. Any other cap is in the configuration.
    cap_usd          integer check (cap_usd >= 0),
    cap_tokens       integer check (cap_tokens >= 0),
    -- What a person has added.
    extra_usd        integer not null check (extra_usd >= 0),
    extra_tokens     integer not null check (extra_tokens >= 0),
    -- Set aside for calls that are out.
    reserved_usd     integer not null check (reserved_usd >= 0),
    reserved_tokens  integer not null check (reserved_tokens >= 0),
    spent_usd        integer not null check (spent_usd >= 0),
    spent_tokens     integer not null check (spent_tokens >= 0),
    -- The start of a gateway that keeps count.
    counted_by       text    not null references nodes (id),
    primary key (scope, subject)
) strict, without rowid;

-- What the model call of a run has set aside. It is out, so there is one for each run at most.
create table reservations (
    run_id    text    not null references runs (id),
    scope     text    not null,
    subject   text    not null,
    micro_usd integer not null check (micro_usd >= 0),
    tokens    integer not null check (tokens >= 0),
    primary key (run_id, scope, subject),
    foreign key (scope, subject) references budgets (scope, subject)
) strict, without rowid;

alter table runs add column cost_micro_usd integer not null default 0;
-- The budget that it waits for, as `scope:subject`.
alter table runs add column budget text;
-- Who waits for this budget?
create index runs_budgeted on runs (budget, id) where budget is not null;

alter table flow_nodes add column budget text;

-- More words in three constraints. SQLite changes none in place, and to build the tables anew
-- would copy every run; so the text of the schema is changed, as its manual describes
-- (sqlite.org/lang_altertable.html, section 7). Old rows satisfy the wider constraints.
pragma writable_schema = on;
update sqlite_schema
set sql = replace(
    replace(sql, '''reply'', ''gate'')', '''reply'', ''gate'', ''budget'')'),
    '''unknown_model'', ''internal'')', '''unknown_model'', ''budget'', ''internal'')')
where type = 'table' and name = 'runs';
update sqlite_schema
set sql = replace(sql, '''archive'',', '''archive'', ''budget'',')
where type = 'table' and name = 'timers';
pragma writable_schema = reset;
