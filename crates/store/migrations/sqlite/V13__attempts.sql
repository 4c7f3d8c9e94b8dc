-- V13: a task that has ended without being completed is carried again.
--
-- An ended task stays as it ended. What carries it again is a task of its own, in the same session,
-- that names the one before. Two that name the same one would do the work twice, so that is an
-- error of the database.

alter table tasks add column retry_of text references tasks (id);

create unique index tasks_attempts on tasks (retry_of) where retry_of is not null;
