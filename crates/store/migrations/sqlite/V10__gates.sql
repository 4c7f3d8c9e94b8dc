-- V10: gates of providers, since when a run stands in line, and lists that need not read all.

-- What sort of conversation a key names, for lists: the program writes it with the row.
alter table sessions add column kind text not null default 'other' check (kind in
    ('main', 'thread', 'subagent', 'acp', 'cron', 'hook', 'group', 'other'));

update sessions set kind = case
    when substr(key, length(agent) + 8) = 'main' then 'main'
    when substr(key, length(agent) + 8, 7) = 'thread:' then 'thread'
    when substr(key, length(agent) + 8, 9) = 'subagent:'
        and instr(substr(key, length(agent) + 17), ':') = 0 then 'subagent'
    when substr(key, length(agent) + 8) like 'acp:________-____-____-____-____________' then 'acp'
    when substr(key, length(agent) + 8) like 'hook:________-____-____-____-____________' then 'hook'
    when substr(key, length(agent) + 8, 5) = 'cron:' then 'cron'
    when instr(key, ':group:') > 0 or instr(key, ':channel:') > 0 then 'group'
    else 'other'
end;

-- What has this person been doing lately?
create index sessions_by_owner on sessions (owner, active_ms);
-- Who is at work?
create index sessions_busy on sessions (active_ms) where open_run is not null;
