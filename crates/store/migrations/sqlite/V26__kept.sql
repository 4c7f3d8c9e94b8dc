-- V26: texts that are kept whole because a transcript holds only their two ends.
--
-- They are no rows of `blobs`, which are named by rows that stay: these go when they are old.

create table kept (
    root_key text    not null,
    hash     text    not null,
    -- The run that has brought it in last.
    run_id   text    not null references runs (id),
    bytes    integer not null check (bytes > 0),
    at_ms    integer not null,
    text     text    not null,
    primary key (root_key, hash)
) strict;

create index kept_by_age on kept (at_ms, root_key, hash);
