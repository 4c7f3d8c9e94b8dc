-- V7: calls that are repeated.
--
-- How often in a row a session has made the same call and had the same result: a loop that a
-- restart falls into the middle of is the same loop. A row is gone when an order from outside
-- comes to its tree, so there are as many as calls since then.

create table repeats (
    session_key text    not null references sessions (key),
    -- Of the tool's name and the arguments.
    call_hash   text    not null,
    root_key    text    not null,
    result_hash text    not null,
    count       integer not null check (count > 0),
    -- The call changes nothing.
    looks       integer not null check (looks in (0, 1)),
    primary key (session_key, call_hash)
) strict, without rowid;

-- What begins anew when a person writes to this tree?
create index repeats_of_tree on repeats (root_key);
