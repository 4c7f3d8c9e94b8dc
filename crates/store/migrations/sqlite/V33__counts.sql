-- V33: sessions and tasks are counted as they come and go, so that a status with a hundred thousand
-- of them reads a few rows.

create table counts (
    what  text    not null check (what in ('session', 'task')),
    -- Whose; none for tasks, of which no question is asked by agent.
    agent text    not null,
    n     integer not null check (n >= 0),
    primary key (what, agent)
) strict, without rowid;

insert into counts
select 'session', agent, count(*) from sessions where deleted_ms is null group by agent;
insert into counts select 'task', '', count(*) from tasks;

create trigger session_comes after insert on sessions when new.deleted_ms is null begin
    insert into counts values ('session', new.agent, 1)
    on conflict (what, agent) do update set n = n + 1;
end;

-- A key that is used again is a session that comes back.
create trigger session_is_deleted_or_back after update of deleted_ms on sessions
when (old.deleted_ms is null) <> (new.deleted_ms is null) begin
    insert into counts values ('session', new.agent, new.deleted_ms is null)
    on conflict (what, agent) do update set n = n + iif(new.deleted_ms is null, 1, -1);
end;

create trigger session_goes after delete on sessions when old.deleted_ms is null begin
    update counts set n = n - 1 where what = 'session' and agent = old.agent;
end;

create trigger task_comes after insert on tasks begin
    insert into counts values ('task', '', 1)
    on conflict (what, agent) do update set n = n + 1;
end;

create trigger task_goes after delete on tasks begin
    update counts set n = n - 1 where what = 'task';
end;
