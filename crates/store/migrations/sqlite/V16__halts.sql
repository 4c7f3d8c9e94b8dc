-- V16: what is left of runs that were ended while calls of theirs were out.
--
-- The commit that ends a run only orders its model stream to be closed and its processes to be
-- ended. Whether that has worked is seen a moment later, or after the next start; until then
-- nobody may say that all of it has stopped.

create table halts (
    run_id    text    not null primary key references runs (id),
    root_key  text    not null,
    state     text    not null check (state in ('stopping', 'stopped', 'unproved')),
    asked_ms  integer not null,
    looked_ms integer,
    -- Processes that were there at the last look, as a JSON array of numbers.
    pids      text    not null,
    -- Calls that had not come back.
    calls     integer not null check (calls >= 0),
    -- So often it was looked; what an earlier look has seen counts for nothing.
    looks     integer not null check (looks > 0),
    constraint nobody_has_looked check ((state = 'stopping') = (looked_ms is null)),
    constraint unproved_says_what_is_left check
        ((state = 'unproved') = (pids <> '[]' or calls > 0))
) strict, without rowid;

-- What is not proved, in this tree or at all?
create index halts_open on halts (root_key, run_id) where state <> 'stopped';

create table new_timers (
    kind    text    not null check (kind in
        ('retry', 'yield_timeout', 'deadline', 'debounce', 'deadline_warning', 'reply_timeout',
         'queue_notice', 'gate', 'archive', 'retention', 'halt')),
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
