-- V14: fewer pages for each commit. An index whose column or condition is set is written, also
-- when the row stays where it was in it.

-- "Open" said by a column that is set once, and "in line" by one that only a queued run has: a run
-- that goes on to its next phase is written to neither.
drop index runs_one_open;
create unique index runs_one_open on runs (session_key) where ended_ms is null;
drop index runs_queue;
create index runs_queue on runs (lane, rank, id) where rank is not null;
drop index runs_tree_queue;
create index runs_tree_queue on runs (lane, root_key, rank) where rank is not null;

-- One index in the place of three that every run moved its session in, twice. What lists and
-- counts ask for is in it, so those that are not wanted are passed over without reading their rows.
drop index sessions_by_agent;
drop index sessions_by_owner;
drop index sessions_by_active;
create index sessions_by_active on sessions
    (active_ms, agent, owner, kind, lifecycle, deleted_ms);
