-- V10: gates of providers, since when a run stands in line, and lists that need not read all.

-- What sort of conversation a key names, for lists: the program writes it with the row.
alter table sessions add column kind text not null default 'other' check (kind in
    ('main', 'thread', 'subagent', 'acp', 'cron', 'hook', 'group', 'other'));

update sessions set kind = case
    when substr(key, length(agent) + 8) = 'main' then 'main'
    when substr(key, length(agent) + 8, 7) = 'thread:' then 'thread'
    when substr(key, length(agent) + 8, 9) = 'subagent:'
        and instr(substr(key, length(agent) + 17), ':') = 0 then 'subagent'
    when substr(key, length(agent) + 8) like 'acp:________-____-____-____-____________' then 'acp'
    when substr(key, length(agent) + 8) like 'hook:________-____-____-____-____________' then 'hook'
    when substr(key, length(agent) + 8, 5) = 'cron:' then 'cron'
    when instr(key, ':group:') > 0 or instr(key, ':channel:') > 0 then 'group'
    else 'other'
end;

-- What has this person been doing lately?
create index sessions_by_owner on sessions (owner, active_ms);
-- Who is at work?
create index sessions_busy on sessions (active_ms) where open_run is not null;

-- What a provider lets through, for all runs at once: one row for each model of an account that
-- was ever closed, and one (model `*`) for an account with limits.
create table gates (
    provider   text    not null,
    account    text    not null,
    model      text    not null,
    state      text    not null check (state in ('open', 'closed', 'probing')),
    kind       text check (kind in ('rate', 'quota', 'overload')),
    -- From here on a closed gate may be tried, by one call.
    reopen_ms  integer,
    -- No foreign key: the run of a probe outlives nothing, and names no row that must be there.
    probe_run  text,
    strikes    integer not null check (strikes >= 0),
    closed_ms  integer,
    reason     text,
    -- What was asked for since then, of an account with limits.
    window_ms  integer not null,
    requests   integer not null check (requests >= 0),
    tokens     integer not null check (tokens >= 0),
    primary key (provider, account, model),
    constraint closed_says_until_when check ((state = 'closed') = (reopen_ms is not null)),
    constraint a_probe_is_out check ((state = 'probing') = (probe_run is not null)),
    constraint not_open_says_why check ((state = 'open') = (kind is null))
) strict;

-- Who waits for this model?
create index runs_gated on runs (model, id) where wait_kind = 'gate';

-- Since when does a run stand in line?
alter table runs add column lined_ms integer;
update runs set lined_ms = queued_ms where rank is not null;

-- What has been done with for so long that it can go?
create index inbox_done on inbox (done_ms) where state in ('consumed', 'dropped', 'cancelled');
