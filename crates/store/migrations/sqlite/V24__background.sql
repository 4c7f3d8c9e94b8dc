-- V24: what runs on beside a run.
--
-- Commands that a run has started and that go on in the background end with the run, however it
-- ends. The mark outlives the gateway that has seen them start, so whoever ends the run knows that
-- somebody has to look.

alter table runs add column background integer not null default 0 check (background in (0, 1));
