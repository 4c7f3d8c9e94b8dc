-- V11: what people type to the gateway itself, and sessions that are deleted.
--
-- A command is no input of its session: no model ever sees it. It is kept beside the transcript,
-- with its answer, at the place where it was typed, so that a person sees both again, and so that
-- the same idempotency key never stops or spawns twice.

create table commands (
    session_key text    not null references sessions (key),
    idem_key    text    not null,
    session_id  text    not null references transcripts (session_id),
    -- It stands before the entry of this number.
    before_seq  integer not null check (before_seq >= 1),
    text        text    not null,
    answer      text    not null,
    is_error    integer not null check (is_error in (0, 1)),
    -- JSON: the tasks that the answer has numbered, from `#1`.
    listed      text    not null,
    at_ms       integer not null,
    primary key (session_key, idem_key)
) strict;

-- What was typed in this transcript, and where?
create index commands_of_transcript on commands (session_id, before_seq, at_ms);

-- A client that waits for an answer names only the key.
create index commands_by_key on commands (idem_key);

create trigger commands_are_never_changed before update on commands
begin
    select raise(abort, 'a command is kept as it was answered');
end;

-- Rows of a deleted session stay, because tasks, runs and the ledger name them. It is in no list,
-- it cannot be restored, and its key is free for a new conversation.
alter table sessions add column deleted_ms integer;

create index transcripts_live on transcripts (session_key) where ended_ms is null;
