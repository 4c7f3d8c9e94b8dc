-- V18: the open children of a session are counted from an index alone, however many there are; and
-- the end of a task moves it in none.

drop index tasks_children;
-- What has this session asked for, in order?
create index tasks_asked on tasks (requester_key, id);
-- Which of it are open?
create index tasks_open_children on tasks (requester_key, id, kind) where ended_ms is null;
