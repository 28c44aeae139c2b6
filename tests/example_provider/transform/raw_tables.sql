-- What a run of the source would have loaded: two keys on three days, the last one still running.
create schema acme;
create table acme.usage_daily (
    account text, date date, api_key text, requests bigint, is_complete boolean, fetched_at timestamptz, row_version text
);
insert into acme.usage_daily
select 'default', date '2026-05-01' + day::integer, key, 10 * (day + 1), day < 2, timestamptz '2026-05-03 12:00+00', 'v'
from range(3) as days (day), (values ('one'), ('two')) as keys (key);
create table acme.fetched_windows (
    resource text, account text, part text, window_start timestamptz, window_end timestamptz, complete_until timestamptz,
    row_count bigint, fetched_at timestamptz
);
insert into acme.fetched_windows values (
    'usage_daily', 'default', '', '2026-05-01 00:00+00', '2026-05-04 00:00+00', '2026-05-03 00:00+00', 6,
    '2026-05-03 12:00+00'
);
