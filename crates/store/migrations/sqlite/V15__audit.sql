-- V15: what an audit asks.
--
-- It reads what is open, and looks for what is missing or in doubt among what has ended lately. Both
-- indexes hold little: one entry for each result that has been announced and is kept, and one for
-- each call of which nobody knows whether it was carried out.

-- Was the end of this task announced, wherever?
create index inbox_announces on inbox (task_id) where kind = 'announce';
-- Which calls are in doubt?
create index steps_unknown on steps (run_id, n) where state = 'unknown';
