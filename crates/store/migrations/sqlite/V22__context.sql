-- V22: conversations that are compacted.
--
-- The transcript is never changed by that. An episode begins behind a summary, and what its model is
-- shown is made from it: the summary, and entries from a number on.

-- JSON: the provider's last count, how far our estimate is from it, the window that a provider has
-- told, and where a compaction stands.
alter table transcripts add column gauge text;
-- The episode of the transcript that a branch begins with.
alter table transcripts add column base_episode integer not null default 1;

-- Part of the taking of notes, or an order: no other call is shown it.
alter table entries add column silent integer not null default 0 check (silent in (0, 1));

-- What a model call was made for.
alter table steps add column purpose text not null default 'reply'
    check (purpose in ('reply', 'notes', 'summary'));

create table new_episodes (
    session_id    text    not null references transcripts (session_id),
    n             integer not null,
    first_seq     integer not null,
    -- Names a blob; null until the first run has pinned it. No foreign key: the blob may be
    -- written after the row, in the same transaction.
    prefix_hash   text,
    prefix_tokens integer not null,
    at_ms         integer not null,
    reason        text    not null default 'start' check (reason in
        ('start', 'pool', 'refresh', 'compaction')),
    -- Names the blob with what stands in the place of all that comes before.
    head_hash     text,
    -- An earlier input that is sent all the same.
    anchor_seq    integer,
    -- Entries before this one are sent with so many bytes of text at most.
    clip_before   integer,
    clip_bytes    integer,
    primary key (session_id, n),
    constraint an_anchor_is_older check (anchor_seq < first_seq),
    constraint a_cut_says_how_long check ((clip_before is null) = (clip_bytes is null))
) strict, without rowid;

insert into new_episodes (
    session_id, n, first_seq, prefix_hash, prefix_tokens, at_ms, reason)
select
    session_id, n, first_seq, prefix_hash, prefix_tokens, at_ms, reason
from episodes;
drop table episodes;
alter table new_episodes rename to episodes;
