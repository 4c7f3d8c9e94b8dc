-- V23: which model was chosen for a run, which one has answered, and why.
--
-- `model` is what a run's next or last call goes to: the model that was chosen, or one in its
-- place, as `provider/model#account` if it is not the account of the provider's own key. `asked` is
-- the one that was chosen, `answered` the name that the provider gave with its last answer, and
-- `switched` the reason of the last call that did not go to the first choice.
alter table runs add column asked text not null default '';
update runs set asked = model;
alter table runs add column answered text;
alter table runs add column switched text;

-- How long the models of a session are to think; what is configured if null.
alter table sessions add column thinking text check (thinking in
    ('off', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'));

-- A gate closes for three more reasons, if calls can go elsewhere: its provider cannot be reached,
-- refuses the key, or does not know the model.
create table gates_new (
    provider   text    not null,
    account    text    not null,
    model      text    not null,
    state      text    not null check (state in ('open', 'closed', 'probing')),
    kind       text check (kind in
        ('rate', 'quota', 'overload', 'network', 'auth', 'unknown_model')),
    reopen_ms  integer,
    probe_run  text,
    strikes    integer not null check (strikes >= 0),
    closed_ms  integer,
    reason     text,
    window_ms  integer not null,
    requests   integer not null check (requests >= 0),
    tokens     integer not null check (tokens >= 0),
    primary key (provider, account, model),
    constraint closed_says_until_when check ((state = 'closed') = (reopen_ms is not null)),
    constraint a_probe_is_out check ((state = 'probing') = (probe_run is not null)),
    constraint not_open_says_why check ((state = 'open') = (kind is null))
) strict;

insert into gates_new select provider, account, model, state, kind, reopen_ms, probe_run, strikes,
    closed_ms, reason, window_ms, requests, tokens from gates;
drop table gates;
alter table gates_new rename to gates;
