-- The queries of the commands on the marts, by name (`queries()` in query.py). %s is a parameter.

-- name: cost_monthly
select billing_month, provider, account, sku_id, quantity, unit, billed_cost, currency, is_complete
from usage.cost_monthly
order by billing_month, provider, account, sku_id;

-- name: unpriced_usage
select provider, account, meter, unit, reason, sum(quantity) as quantity, min(date) as first_date, max(date) as last_date,
    count(distinct date) as days
from usage.unpriced_usage
group by provider, account, meter, unit, reason
order by provider, account, meter, reason;

-- name: recent_anomalies
-- With the value that moved most in the direction of the anomaly, in any dimension that counts the same unit.
select t.provider, t.account, t.meter, t.date, t.quantity, t.unit, t.anomaly_score,
    d.dimension, d.value, d.quantity - d.quantity_before as quantity_change
from usage.usage_trends_daily t
left join (
    select provider, account, date, unit, dimension, value, quantity, quantity_before,
        row_number() over (
            partition by provider, account, date, unit, sign(quantity - quantity_before)
            order by abs(quantity - quantity_before) desc, dimension, value
        ) as place
    from usage.cost_drivers
    where period = 'day' and dimension not in ('sku', 'usage_type') and value not in ('', '(unattributed)', '(other)')
) d on d.provider = t.provider and d.account = t.account and d.date = t.date and d.unit = t.unit and d.place = 1
    and sign(d.quantity - d.quantity_before) = sign(t.anomaly_score)
where t.is_anomaly and t.date >= %s
order by t.date, t.provider, t.account, t.meter;

-- name: budgets
select budget, month, cost_type, amount, currency, actual, forecast, variance, share_used, is_over, other_currencies,
    has_missing_cost, thresholds, forecast_thresholds
from usage.budget_status_monthly
where month >= %s
order by month, budget_row;

-- name: credits_running_out
-- The newest balance of credits that run out within some days at the rate of the last 28 days, unless they ran out earlier.
select provider, billing_account, unit, remaining, days_left
from (
    select *, row_number() over (partition by provider, billing_account, unit order by date desc) as newest,
        max(case when remaining > 0 then date end) over (partition by provider, billing_account, unit) as last_left
    from usage.credit_balance_daily
) b
where newest = 1 and date >= %s and days_left <= %s and last_left >= %s
order by provider, billing_account, unit;

-- name: unpriced_usage_by_date
select provider, account, meter, unit, date, max(reason) as reason, sum(quantity) as quantity
from usage.unpriced_usage
where date >= %s
group by provider, account, meter, unit, date
order by provider, account, meter, unit, date;

-- name: last_build_before
-- The start of the newest run before a time that built the models.
select max(started_at) as started_at
from meterhouse.runs
where started_at < %s and resource = 'models' and outcome = 'ok';

-- name: differing_invoices
select provider, billing_account, invoice_id, line, status, difference, currency
from usage.invoice_reconciliation
where status in ('over', 'under', 'missing usage', 'currency mismatch') and invoice_id is not null and period_end >= %s
order by provider, billing_account, invoice_id, line_number;

-- name: status_costs
-- The names in braces are those of `CostType.columns`. Charges to a billing account as a whole are added to those of the account of the same name, which is often the only one.
-- The cost is unknown (null) if nothing is charged and some usage of the month is unpriced.
select provider, account, currency,
    case
        when sum(cost_to_date) <> 0 or not exists (
            select 1
            from usage.unpriced_usage u
            where u.provider = f.provider and u.account = f.account and u.date >= f.billing_month
        ) then sum(cost_to_date)
    end as cost_to_date,
    case when count(*) = count(forecast) then sum(forecast) end as forecast,
    case when count(*) = count(forecast) then least(sum(forecast_low), sum(forecast), sum(forecast_high)) end
        as forecast_low,
    case when count(*) = count(forecast) then greatest(sum(forecast_low), sum(forecast), sum(forecast_high)) end
        as forecast_high,
    coalesce(max(nullif(basis, 'charged as a whole')), 'charged as a whole') as basis
from (
    select provider, coalesce(nullif(account, ''), billing_account) as account, currency, billing_month,
        {cost_to_date} as cost_to_date, {forecast} as forecast, {forecast_low} as forecast_low,
        {forecast_high} as forecast_high, basis
    from usage.cost_forecast_monthly
    where billing_month = %s
) f
group by provider, account, currency, billing_month
order by currency, sum(cost_to_date) desc, provider, account;

-- name: status_costs_by_day
select provider, account, currency, date, sum({cost}) as cost
from usage.cost_daily
where date >= %s
group by provider, account, currency, date;

-- name: missing_rates
-- Cost without a rate into the reporting currency.
select currency, reporting_currency, min(cast(charge_period_start as date)) as first_date,
    max(cast(charge_period_start as date)) as last_date, sum(billed_cost) as billed_cost
from usage.charges
where reporting_currency is not null and fx_rate is null and (billed_cost <> 0 or effective_cost <> 0)
group by currency, reporting_currency
order by currency;

-- name: reporting_total
-- The month's cost of all currencies in the reporting currency; null if a rate is missing.
select reporting_currency, case when count(*) = count({reporting_cost}) then sum({reporting_cost}) end as cost
from usage.cost_monthly
where billing_month = %s and reporting_currency is not null and (billed_cost <> 0 or effective_cost <> 0)
group by reporting_currency;

-- name: status_owners
-- Only if an owner has cost.
select team, cost_centre, currency, cost, forecast
from (
    select team, cost_centre, currency, sum({cost_to_date}) as cost,
        case when count(*) = count({forecast}) then sum({forecast}) end as forecast,
        max(max(case when team <> 'unowned' then 1 else 0 end)) over () as has_owners
    from usage.cost_forecast_by_owner_monthly
    where billing_month = %s
    group by team, cost_centre, currency
) o
where has_owners = 1
order by currency, cost desc, team, cost_centre;

-- name: status_owners_converted
-- The cost so far in the reporting currency, if an owner has cost, and any cost is in another currency.
select team, cost_centre, reporting_currency as currency, cost
from (
    select team, cost_centre, reporting_currency,
        case when count(*) = count({reporting_cost_to_date}) then sum({reporting_cost_to_date}) end as cost,
        max(max(case when team <> 'unowned' then 1 else 0 end)) over () as has_owners,
        max(max(case when currency <> reporting_currency then 1 else 0 end)) over () as is_converted
    from usage.cost_forecast_by_owner_monthly
    where billing_month = %s and reporting_currency is not null
    group by team, cost_centre, reporting_currency
) o
where has_owners = 1 and is_converted = 1
order by case when cost is null then 1 else 0 end, cost desc, team, cost_centre;

-- name: status_changes
-- Two rows for each change: the change of the account, without a value, and the value that changed it most. The changes are
-- those of the last complete month and of recent anomalies. SKUs come last, and so do usage types, which tell no more than
-- their SKU.
select period, provider, account, date, compared_with, currency, dimension, value, change, volume_change, price_change,
    mix_change
from (
    select *,
        row_number() over (
            partition by period, provider, account, date, currency
            order by case when value is null then 0 when dimension in ('sku', 'usage_type') then 3
                when value in ('', '(unattributed)', '(other)') then 2 else 1 end, abs(change) desc, dimension, value
        ) as place
    from (
        select period, provider, account, date, compared_with, currency, dimension, value, sum(change) as change,
            sum(volume_change) as volume_change, sum(price_change) as price_change, sum(mix_change) as mix_change
        from (
            select period, provider, coalesce(nullif(account, ''), billing_account) as account, date, compared_with, currency,
                dimension, value, {change} as change, {volume_change} as volume_change, {price_change} as price_change,
                {mix_change} as mix_change
            from usage.cost_drivers
        ) c
        group by grouping sets (
            (period, provider, account, date, compared_with, currency, dimension, value),
            (period, provider, account, date, compared_with, currency, dimension)
        )
    ) d
    where currency is not null and (value is not null or dimension = 'sku') and (
        period = 'month' and date = (select max(date) from usage.cost_drivers where period = 'month' and date < %s)
        or period = 'day' and date >= %s
    )
) r
where place <= 2
order by period desc, date desc, provider, account, currency, place;

-- name: status_unpriced
select provider, account, meter, unit, sum(quantity) as quantity, min(date) as first_date
from usage.unpriced_usage
group by provider, account, meter, unit
order by provider, account, meter;

-- name: status_not_fresh
select provider, account, resource, status, complete_until
from usage.data_freshness
where status <> 'fresh'
order by provider, account, resource;

-- name: status_gaps
select provider, account, resource, kind, count(*) as days
from usage.usage_gaps
where kind in ('never fetched', 'partly fetched')
group by provider, account, resource, kind
order by provider, account, resource, kind;

-- name: status_anomalies
select provider, account, meter, date, anomaly_score
from usage.usage_trends_daily
where is_anomaly and date >= %s
order by date desc, provider, account, meter;

-- name: status_credits
select provider, billing_account, unit, remaining, days_left
from (
    select *, row_number() over (partition by provider, billing_account, unit order by date desc) as newest
    from usage.credit_balance_daily
) b
where newest = 1 and (days_left <= 30 or remaining = 0)
order by provider, billing_account, unit;

-- name: status_invoices
select provider, billing_account, billing_month, line, status
from usage.invoice_reconciliation
where status in ('over', 'under', 'missing usage', 'currency mismatch')
order by billing_month desc, provider, billing_account, line;

-- name: recent_restatements
select provider, account, currency, cast(restated_at as date) as date, count(*) as buckets,
    sum(case when was_closed then 1 else 0 end) as closed_buckets, sum(cost_change) as cost_change
from usage.usage_restated
where restated_at >= %s
group by provider, account, currency, cast(restated_at as date)
order by provider, account, currency, date;

-- name: lateness
select provider, count(*) as restatements,
    percentile_disc(0.5) within group (order by days) as median,
    percentile_disc(0.95) within group (order by days) as percentile_95,
    max(days) as maximum
from (
    select provider, cast(extract(epoch from restated_at - bucket_end) / 86400.0 as numeric(12, 1)) as days
    from usage.usage_restated
) r
group by provider
order by provider;

-- name: columns_with_accounts
select table_name, column_name
from information_schema.columns
where table_schema = %s and column_name in ('account', 'billing_account')
order by table_name, column_name;

-- name: model_tables
select table_schema, table_name
from information_schema.tables
where table_schema in (%s, %s, %s, %s);

-- name: tables_with_accounts
select columns.table_schema, columns.table_name,
    max(case when columns.column_name = 'provider' then 1 else 0 end) as has_provider
from information_schema.columns as columns
inner join information_schema.tables as tables
    on columns.table_schema = tables.table_schema and columns.table_name = tables.table_name
where columns.column_name in ('account', 'provider') and tables.table_type = 'BASE TABLE'
    and columns.table_catalog = current_database() and tables.table_catalog = current_database()
group by columns.table_schema, columns.table_name
having max(case when columns.column_name = 'account' then 1 else 0 end) = 1
order by columns.table_schema, columns.table_name;

-- name: history_tables
select table_schema, table_name
from information_schema.tables
where right(table_name, 9) = '__history' and table_type = 'BASE TABLE' and table_catalog = current_database()
order by table_schema, table_name;

-- name: closed_periods
select provider, account, meter, period_start, period_end, invoice_id, closed_at
from usage_intermediate.int_usage__frozen p
where event = 'closed' and timespan = 'period' and not exists (
    select 1
    from usage_intermediate.int_usage__frozen r
    where r.event = 'reopened' and r.provider = p.provider and r.account = p.account and r.meter in ('', p.meter)
        and r.closed_at > p.closed_at and p.period_start >= r.period_start and p.period_end <= r.period_end
)
order by provider, account, period_start, meter;

-- name: pending_invoices
select provider, billing_account, invoice_id, period_start, period_end, status, what_to_do
from usage.invoice_reconciliation
where invoice_id is not null
    and status in (
        'draft', 'month still open', 'not loaded whole', 'over', 'under', 'missing usage', 'currency mismatch'
    )
    -- Only a line for usage, or a total, closes anything.
    and line not in ('Purchase', 'Credit', 'Adjustment') and split_part(line, '/', 2) not in ('fee', 'credits')
    and invoiced >= 0
order by provider, billing_account, period_start, invoice_id, line_number;

-- name: billed_accounts
select provider, account, billing_account
from usage_intermediate.int_accounts__completed
order by provider, account;

-- name: last_closing
select max(closed_at) as closed_at
from usage_intermediate.int_usage__frozen;

-- name: reopen
insert into usage_intermediate.int_usage__frozen (
    provider, account, meter, timespan, bucket_start, bucket_end, period_start, period_end, quantity, event, closed_at
)
select distinct
    provider, account, meter, timespan, bucket_start, bucket_end, period_start, period_end, quantity, 'reopened',
    cast(%s as timestamp)
from usage_intermediate.int_usage__frozen
where event = 'closed' and timespan = 'period' and provider = %s and account = %s
    and period_start >= %s and period_start < %s;

-- name: postgres_lock_holders
select a.pid, a.application_name, a.usename, a.state, a.xact_start
from pg_stat_activity a
where a.pid <> pg_backend_pid() and a.datname = current_database() and exists (
    select 1
    from pg_locks l
    inner join pg_class c on l.relation = c.oid
    inner join pg_namespace n on c.relnamespace = n.oid
    where l.pid = a.pid and l.granted and n.nspname = any(%s)
)
order by a.xact_start
limit 3;
