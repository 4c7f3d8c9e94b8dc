-- V27: by which price a call was booked; what is shown of thinking; the plan of a session.

-- Names the price, and says it: a price that has changed since does not make old rows unreadable.
-- None if it was not known.
alter table ledger add column price_id text;

-- Whether what the model thinks is shown beside what it says.
alter table sessions add column reasoning text not null default 'off'
    check (reasoning in ('off', 'on', 'stream'));

-- Names the blob with the newest card that the agent has put up; none if there is none.
alter table sessions add column card_hash text;
