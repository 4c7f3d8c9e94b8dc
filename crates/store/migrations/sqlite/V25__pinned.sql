-- 25: when a prefix was pinned.
--
-- An episode begins before its first call, sometimes long before: the files are read when that is
-- made. A person who asks whether they have changed since wants to know since when; and the policy
-- that is kept with a session is that of the newest episode which was pinned.

alter table episodes add column pinned_ms integer;

-- The nearest time that is known of those before.
update episodes set pinned_ms = at_ms where prefix_hash is not null;
