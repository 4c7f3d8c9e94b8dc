-- V6: messages between agents: whoever sends one is answered, once.

-- The sender wants to hear of the end of the run that takes the message in, also if that run has
-- nothing to say.
alter table inbox add column watch integer not null default 0 check (watch in (0, 1));

-- Which call has sent this message, and so gets its answer? A message is sent by one call.
drop index steps_waiting;
create unique index steps_sent on steps (waits_on) where waits_on is not null;
-- What has this run sent, and what of it does it wait for?
create index steps_of_senders on steps (run_id, n) where waits_on is not null;

-- Which sessions have this label?
create index sessions_labelled on sessions (label, owner) where label is not null;
