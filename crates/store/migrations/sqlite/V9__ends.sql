-- V9: how work ends: what was asked for before under the same name or in the same words, and what
-- a restart has cut.

-- Which task of this name, or of these words, did the session ask for last?
create index tasks_by_name on tasks (requester_key, task_name, id) where task_name is not null;
create index tasks_by_words on tasks (requester_key, dup_hash, id);

-- What did the newest start take over? A handful of lines for each start.
create index journal_restarts on journal (seq)
    where kind in ('node.started', 'node.lost', 'run.recovered');
