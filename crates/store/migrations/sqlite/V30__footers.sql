-- V30: what stands under each answer of a session about what it took.

alter table sessions add column footer text not null default 'off'
    check (footer in ('off', 'tokens', 'full'));
