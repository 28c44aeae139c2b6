"""The SQL of the report: sums by the keys that the page shows, in SQL that every destination understands.

Names such as `{cost}` stand for columns of the billed or of the effective cost: see `CostType.columns`.
"""

COMPLETE_DAYS = """
    select provider, account, date, min(case when is_complete then 1 else 0 end) as is_complete
    from usage.usage_trends_daily
    group by provider, account, date
"""

COVERAGE = f"{COMPLETE_DAYS} order by provider, account, date"

LAST_COMPLETE_DAYS = f"""
    select max(date) as value
    from ({COMPLETE_DAYS}) d
    where is_complete = 1
    group by provider, account
"""  # noqa: S608 - only the constant above

LAST_FETCH = "select max(last_fetched_at) as value from usage.data_freshness"

FIRST_USAGE = "select min(date) as value from usage.usage_daily"

LAST_USAGE = "select max(date) as value from usage.usage_daily"

LAST_BILLING_MONTH = "select max(billing_month) as value from usage.cost_monthly"

ACCOUNTS_WITH_USAGE_OR_COST = """
    select distinct provider, account from usage.usage_by_dimension
    union select distinct provider, account from usage.cost_daily
"""

METER_DAYS_BY_DATE = "select date, count(*) as meter_days from usage.usage_trends_daily group by date order by date desc"

ACCOUNTS = """
    select known.provider, known.account, owner.billing_account
    from (
        select provider, account from usage.usage_daily
        union select provider, account from usage.data_freshness
        union select provider, account from usage.cost_monthly where account <> ''
        union select provider, coalesce(nullif(account, ''), billing_account) from usage.cost_forecast_monthly
    ) known
    left join (select distinct provider, account, billing_account from usage.cost_monthly where account <> '') owner
        on owner.provider = known.provider and owner.account = known.account
    order by known.provider, known.account, owner.billing_account
"""

FORECASTS = """
    select provider, account, billing_month, currency, sum(cost_to_date) as cost_to_date,
        case when count(*) = count(forecast) then sum(forecast) end as forecast,
        case when count(*) = count(forecast) then least(sum(forecast_low), sum(forecast), sum(forecast_high)) end
            as forecast_low,
        case when count(*) = count(forecast) then greatest(sum(forecast_low), sum(forecast), sum(forecast_high)) end
            as forecast_high,
        min(case when is_final then 1 else 0 end) = 1 as is_final, max(case when is_cut then 1 else 0 end) = 1 as is_cut,
        coalesce(max(nullif(basis, 'charged as a whole')), 'charged as a whole') as basis
    from (
        select provider, coalesce(nullif(account, ''), billing_account) as account, billing_month, currency,
            {cost_to_date} as cost_to_date, {forecast} as forecast, {forecast_low} as forecast_low,
            {forecast_high} as forecast_high, is_final, is_cut, basis
        from usage.cost_forecast_monthly
        where billing_month <= date '{month}'
    ) f
    group by provider, account, currency, billing_month
    order by provider, account, currency, billing_month
"""

BUDGETS = """
    select budget, provider, account, cost_type, amount, currency, actual, forecast, variance, share_used, is_over,
        other_currencies, has_missing_cost
    from usage.budget_status_monthly
    where month = date '{month}'
    order by share_used desc, budget_row
"""

CONVERTED = """
    select provider, coalesce(nullif(account, ''), billing_account) as account, billing_month, currency, reporting_currency,
        sum({cost}) as cost,
        case when count(*) = count({reporting_cost}) then sum({reporting_cost}) end as reporting_cost
    from usage.cost_monthly
    where billing_month >= date '{since}' and billing_month <= date '{month}' and reporting_currency is not null
        and (billed_cost <> 0 or effective_cost <> 0)
    group by provider, coalesce(nullif(account, ''), billing_account), billing_month, currency, reporting_currency
    order by provider, account, currency, billing_month
"""

OWNER_COSTS = """
    select provider, account, team, cost_centre, currency,
        sum(case when billing_month < date '{month}' then cost else 0 end) as previous_cost,
        sum(case when billing_month = date '{month}' then cost else 0 end) as cost,
        case
            when min(case when billing_month = date '{month}' and forecast is null then 0 else 1 end) = 1
                then sum(case when billing_month = date '{month}' then forecast else 0 end)
        end as forecast,
        case
            when min(case when billing_month = date '{month}' and reporting_cost is null then 0 else 1 end) = 1
                then sum(case when billing_month = date '{month}' then reporting_cost else 0 end)
        end as reporting_cost
    from (
        select provider, coalesce(nullif(account, ''), billing_account) as account, billing_month, team, cost_centre,
            currency, {cost_to_date} as cost, {forecast} as forecast, {reporting_cost_to_date} as reporting_cost
        from usage.cost_forecast_by_owner_monthly
        where billing_month >= date '{since}' and billing_month <= date '{month}'
    ) o
    group by provider, account, team, cost_centre, currency
    order by currency, team, cost_centre, provider, account
"""

COST_CHANGES = """
    select period, provider, coalesce(nullif(account, ''), billing_account) as account, date, compared_with, currency,
        dimension, case when position <= {limit} then value else '(other)' end as value,
        sum({cost}_before) as previous_cost, sum({cost}) as cost, sum({change}) as change,
        sum({volume_change}) as volume_change, sum({price_change}) as price_change, sum({mix_change}) as mix_change
    from usage.cost_drivers
    where currency is not null and (
        period = 'day' and date >= date '{since}'
        or period = 'month' and date = (
            select max(date) from usage.cost_drivers where period = 'month' and date < date '{month}'
        )
    )
    group by period, provider, coalesce(nullif(account, ''), billing_account), date, compared_with, currency, dimension,
        case when position <= {limit} then value else '(other)' end
    order by period desc, date desc, provider, 3, currency, dimension, min(position), value
"""

DAILY_COSTS = """
    select provider, account, currency, date, sum({cost}) as cost
    from usage.cost_daily
    group by provider, account, currency, date
    order by provider, account, currency, date
"""

METERS = """
    select provider, account, meter, unit, date, quantity, is_complete, average_7d, average_28d, week_over_week,
        month_to_date, anomaly_score, is_anomaly
    from usage.usage_trends_daily
    where date >= date '{since}'
    order by provider, account, meter, date
"""

WEEK_CHANGES = """
    select days.provider, days.account, costs.currency, costs.previous_cost, costs.current_cost,
        days.previous_complete_days, days.current_complete_days
    from (
        select provider, account,
            sum(case when date < date '{start}' then is_complete else 0 end) as previous_complete_days,
            sum(case when date >= date '{start}' then is_complete else 0 end) as current_complete_days
        from ({complete_days}) d
        where date >= date '{previous_start}' and date < date '{end}'
        group by provider, account
    ) days
    left join (
        select provider, account, currency,
            sum(case when date < date '{start}' then {cost} else 0 end) as previous_cost,
            sum(case when date >= date '{start}' then {cost} else 0 end) as current_cost
        from usage.cost_daily
        where date >= date '{previous_start}' and date < date '{end}'
        group by provider, account, currency
    ) costs on costs.provider = days.provider and costs.account = days.account
    order by days.provider, days.account, costs.currency
"""

DRIVERS = """
    with complete as (
        select provider, account
        from ({complete_days}) d
        where date >= date '{previous_start}' and date < date '{end}'
        group by provider, account
        having sum(is_complete) = 14
    ),
    summed as (
        select u.provider, u.account, u.dimension, u.value, u.unit, max(u.currency) as currency,
            count(distinct u.currency) as currencies,
            sum(case when u.date < date '{start}' then u.quantity else 0 end) as previous_quantity,
            sum(case when u.date >= date '{start}' then u.quantity else 0 end) as current_quantity,
            sum(case when u.date < date '{start}' then u.{allocated_cost} end) as previous_cost,
            sum(case when u.date >= date '{start}' then u.{allocated_cost} end) as current_cost
        from usage.usage_by_dimension u
        inner join complete on complete.provider = u.provider and complete.account = u.account
        where u.date >= date '{previous_start}' and u.date < date '{end}'
        group by grouping sets (
            (u.provider, u.dimension, u.value, u.unit),
            (u.provider, u.account, u.dimension, u.value, u.unit)
        )
    ),
    ranked as (
        select *,
            row_number() over (
                partition by provider, account, dimension, unit
                order by
                    abs(coalesce(current_cost, 0) - coalesce(previous_cost, 0)) desc,
                    abs(current_quantity - previous_quantity) desc,
                    value
            ) as sort_position
        from summed
    )
    select provider, account, dimension, value, unit, previous_quantity, current_quantity,
        case when currencies = 1 then currency end as currency,
        case when currencies = 1 then previous_cost end as previous_cost,
        case when currencies = 1 then current_cost end as current_cost
    from ranked
    where sort_position <= {limit} and (current_quantity <> previous_quantity or current_cost <> previous_cost)
    order by provider, account, dimension, unit, sort_position
"""

BREAKDOWN = """
    with parts as (
        select provider, account, dimension, value, unit, quantity, {allocated_cost} as allocated_cost, currency
        from usage.usage_by_dimension
        where date >= date '{start}' and date < date '{end}'
        union all
        select provider, account, 'sku', sku_id, unit, quantity, {cost}, currency
        from usage.cost_daily
        where date >= date '{start}' and date < date '{end}'
    ),
    summed as (
        select provider, account, dimension, value, unit, max(currency) as currency, count(distinct currency) as currencies,
            sum(quantity) as quantity, sum(case when allocated_cost is null then quantity else 0 end) as unpriced,
            sum(allocated_cost) as cost
        from parts
        group by grouping sets (
            (provider, dimension, value, unit), (provider, account, dimension, value, unit)
        )
    ),
    ranked as (
        select *,
            row_number() over (
                partition by provider, account, dimension, unit
                order by coalesce(cost, 0) desc, quantity desc, value
            ) as sort_position
        from summed
    ),
    labelled as (
        select *, case when sort_position <= {top_values} then value end as top_value from ranked
    )
    select '{period}' as period, provider, account, dimension, unit, top_value as value, count(*) as "values",
        sum(quantity) as quantity, sum(unpriced) as unpriced,
        case when max(currencies) <= 1 and count(distinct currency) <= 1 then sum(cost) end as cost,
        case when max(currencies) <= 1 and count(distinct currency) <= 1 then max(currency) end as currency
    from labelled
    group by provider, account, dimension, unit, top_value
    order by provider, account, dimension, unit, min(sort_position)
"""

UNPRICED = """
    select provider, account, meter, unit, reason, min(date) as first_date, max(date) as last_date,
        sum(quantity) as quantity,
        sum(case when date >= date '{month}' then quantity else 0 end) as month_quantity
    from usage.unpriced_usage
    group by provider, account, meter, unit, reason
    order by provider, account, meter, reason
"""

CREDIT_BALANCES = """
    select provider, billing_account as account, unit, date, granted, used, remaining, overage, days_left
    from usage.credit_balance_daily
    order by provider, billing_account, unit, date
"""

INVOICE_LINES = """
    select provider, billing_account, billing_month, period_start, period_end, invoice_id, line_number, line, computed,
        net, tax, difference, currency, status, what_to_do, has_unpriced_usage
    from usage.invoice_reconciliation
    where period_end > date '{since}'
    order by billing_month desc, provider, billing_account, invoice_id, line_number, line, currency
"""

INVOICE_LINES_BEFORE = "select count(*) as value from usage.invoice_reconciliation where period_end <= date '{since}'"

FRESHNESS = """
    select provider, account, resource, loaded_from, complete_until, last_fetched_at, status
    from usage.data_freshness
    order by provider, account, resource
"""

GAPS = """
    select provider, account, resource, kind, date
    from usage.usage_gaps
    order by provider, account, resource, kind, date
"""
