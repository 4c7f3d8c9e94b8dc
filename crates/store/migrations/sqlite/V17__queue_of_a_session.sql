-- V17: what a person has wanted of the queue of one conversation, instead of what is configured.
--
-- The mode is there since V3.

alter table sessions add column queue_debounce_ms integer check (queue_debounce_ms >= 0);
alter table sessions add column queue_cap integer check (queue_cap >= 1);
alter table sessions add column queue_drop text check (queue_drop in ('summarize', 'old', 'new'));
