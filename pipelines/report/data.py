"""Reads the data of the report from the marts."""

from collections import defaultdict
from datetime import date, datetime, timedelta

from meterhouse.pipelines.report import queries, sections
from meterhouse.pipelines.report.model import (
    ROW_TABLES,
    Account,
    Budget,
    Converted,
    CostChange,
    Forecast,
    OwnerCost,
    Period,
    ReportData,
    Restated,
    TableFreshness,
    Unpriced,
    Weeks,
)
from meterhouse.pipelines.report.rows import single, structs
from meterhouse.pipelines.transform.as_of import moment_of
from meterhouse.pipelines.transform.exchange import if_converted, missing_rates
from meterhouse.pipelines.warehouse.cost_type import CostType, default_cost_type
from meterhouse.pipelines.warehouse.query import Query, if_built
from meterhouse.pipelines.warehouse.query import queries as shared_queries
from meterhouse.sources.billing.currencies import DECIMAL_PLACES

MAX_DAYS_BEHIND = 4
"""An account without data for longer than this many days does not delay the compared weeks of the others."""

MAX_GAPS = 300


def read_report_data(query: Query, database: str, cost_type: CostType | None = None) -> ReportData:
    """The data of the report; `database` is the name that the page shows. None stands for the default type of cost."""
    cost_type = cost_type or default_cost_type(query)
    as_of = single(query(queries.LAST_FETCH))
    today = _today(query, as_of)
    month = today.replace(day=1)
    weeks = _weeks(query, today)
    periods = _periods(query, today)
    several = _providers_with_several_accounts(query)
    meters, meters_since = sections.meters(query)
    invoice_lines, advice, invoice_lines_since = sections.invoice_lines(query, month)
    gaps = sections.gaps(query)
    return ReportData(
        database=database,
        cost_type=cost_type,
        as_of=as_of,
        built_as_of=moment_of(query),
        today=today,
        month=month,
        weeks=weeks,
        periods=periods,
        accounts=_accounts(query),
        coverage=sections.coverage(query),
        forecasts=structs(Forecast, query(queries.FORECASTS.format(month=month, **cost_type.columns))),
        daily_costs=sections.daily_costs(query, cost_type),
        meters=meters,
        meters_since=meters_since,
        week_changes=sections.week_changes(query, weeks, cost_type),
        drivers=sections.drivers(query, weeks, cost_type, several),
        breakdown=sections.breakdown(query, periods, cost_type, several),
        unpriced=structs(Unpriced, query(queries.UNPRICED.format(month=month))),
        credits=sections.credit_balances(query),
        invoice_lines=invoice_lines,
        invoice_lines_since=invoice_lines_since,
        advice=advice,
        freshness=structs(TableFreshness, query(queries.FRESHNESS)),
        gaps=gaps[:MAX_GAPS],
        omitted_gaps=max(0, len(gaps) - MAX_GAPS),
        restated=structs(Restated, if_built(query)(shared_queries()["recent_restatements"], today - timedelta(days=7))),
        budgets=structs(Budget, if_built(query)(queries.BUDGETS.format(month=month))),
        converted=structs(
            Converted,
            if_converted(query)(queries.CONVERTED.format(since=_month_before(month), month=month, **cost_type.columns)),
        ),
        owner_costs=structs(
            OwnerCost,
            if_built(query)(queries.OWNER_COSTS.format(since=_month_before(month), month=month, **cost_type.columns)),
        ),
        cost_changes=structs(
            CostChange,
            if_built(query)(
                queries.COST_CHANGES.format(
                    limit=sections.MAX_DRIVERS, since=today - timedelta(days=7), month=month, **cost_type.columns
                )
            ),
        ),
        missing_rates=list(map(str, missing_rates(query))),
        decimal_places=DECIMAL_PLACES,
        fields={name: list(struct.__struct_fields__) for name, struct in ROW_TABLES.items()},
    )


def _today(query: Query, as_of: datetime | None) -> date:
    """The day of the latest fetch: the report describes the loaded data, regardless of when it is written."""
    if as_of is not None:
        return as_of.date()
    latest: date | None = single(query(queries.LAST_USAGE))
    latest = latest or single(query(queries.LAST_BILLING_MONTH))
    return latest or date(1970, 1, 1)


def _month_before(month: date) -> date:
    return (month - timedelta(days=1)).replace(day=1)


def _weeks(query: Query, today: date) -> Weeks:
    """The last week that is complete for every current account, and the week before it."""
    last_complete_days: list[date] = [row["value"] for row in query(queries.LAST_COMPLETE_DAYS)]
    current = [day for day in last_complete_days if day >= today - timedelta(days=MAX_DAYS_BEHIND)]
    last = min(current, default=max(last_complete_days, default=today - timedelta(days=1)))
    end = last + timedelta(days=1)
    return Weeks(end - timedelta(days=14), end - timedelta(days=7), end)


def _periods(query: Query, today: date) -> list[Period]:
    tomorrow, month = today + timedelta(days=1), today.replace(day=1)
    last_month = _month_before(month)
    first: date = single(query(queries.FIRST_USAGE)) or today
    year_ago = date(month.year - 1, month.month, 1)
    return [
        Period("7d", "Last 7 days", today - timedelta(days=6), tomorrow),
        Period("28d", "Last 28 days", today - timedelta(days=27), tomorrow),
        Period("month", "This month", month, tomorrow),
        Period("last-month", "Last month", last_month, month),
        Period("90d", "Last 90 days", today - timedelta(days=89), tomorrow),
        Period("year", "Last 12 months and this month", year_ago, tomorrow),
        Period("all", "All loaded data", min(first, today), tomorrow),
    ]


def _providers_with_several_accounts(query: Query) -> set[str]:
    accounts: defaultdict[str, set[str]] = defaultdict(set)
    for row in query(queries.ACCOUNTS_WITH_USAGE_OR_COST):
        accounts[row["provider"]].add(row["account"])
    return {provider for provider, names in accounts.items() if len(names) > 1}


def _accounts(query: Query) -> list[Account]:
    billing_accounts: dict[tuple[str, str], list[str]] = {}
    for row in query(queries.ACCOUNTS):
        names = billing_accounts.setdefault((row["provider"], row["account"]), [])
        if row["billing_account"] is not None:
            names.append(row["billing_account"])
    return [Account(provider, account, names) for (provider, account), names in billing_accounts.items()]
