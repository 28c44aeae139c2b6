"""The data of the report. Numbers are those of the marts; money and quantities are Decimals, written as text in JSON.

An `array_like` struct is written as an array without names; `ReportData.fields` names its columns once for all rows.
"""

from datetime import date, datetime
from decimal import Decimal

import msgspec


class Period(msgspec.Struct):
    """A period that the reader can select: from `start` to `end`, exclusive."""

    key: str
    label: str
    start: date
    end: date


class Weeks(msgspec.Struct):
    """The last seven complete days, from `start` to `end`, exclusive, and the seven days before them."""

    previous_start: date
    start: date
    end: date


class Account(msgspec.Struct, array_like=True):
    """An account that the reader can select, and the billing accounts that pay for it."""

    provider: str
    account: str
    billing_accounts: list[str]


class Coverage(msgspec.Struct):
    """The number of days with usage of an account, from `start` on, and the positions of the incomplete ones."""

    provider: str
    account: str
    start: date
    days: int
    incomplete: list[int]


class Forecast(msgspec.Struct, array_like=True):
    """Rows of `cost_forecast_monthly`; charges to a billing account as a whole count for the account of the same name."""

    provider: str
    account: str
    billing_month: date
    currency: str
    cost_to_date: Decimal
    forecast: Decimal | None
    forecast_low: Decimal | None
    forecast_high: Decimal | None
    is_final: bool
    is_cut: bool
    basis: str


class DailyCosts(msgspec.Struct):
    """Cost of `cost_daily` for each day from `start` on; null where the mart has no row."""

    provider: str
    account: str
    currency: str
    start: date
    costs: list[Decimal | None]


class Meter(msgspec.Struct):
    """A meter of `usage_trends_daily` for each day from `start` on; `anomalies` maps positions of days to their scores."""

    provider: str
    account: str
    meter: str
    unit: str | None
    start: date
    quantities: list[Decimal | None]
    averages_7d: list[Decimal | None]
    averages_28d: list[Decimal | None]
    anomalies: dict[int, Decimal]
    latest: "LatestDay"


class LatestDay(msgspec.Struct):
    """The last complete day of a meter in `usage_trends_daily`, and its month to date up to the last loaded day."""

    day: date
    quantity: Decimal | None
    average_7d: Decimal | None
    average_28d: Decimal | None
    week_over_week: Decimal | None
    month_to_date: Decimal | None


class WeekChange(msgspec.Struct, array_like=True):
    """Sums of `cost_daily` over two weeks, and the number of complete days in each."""

    provider: str
    account: str
    currency: str | None
    previous_cost: Decimal | None
    current_cost: Decimal | None
    previous_complete_days: int
    current_complete_days: int


class Driver(msgspec.Struct, array_like=True):
    """Sums of `usage_by_dimension` over two weeks for one value; `account` is null for all accounts of the provider."""

    provider: str
    account: str | None
    dimension: str
    value: str
    unit: str | None
    currency: str | None
    previous_quantity: Decimal
    current_quantity: Decimal
    previous_cost: Decimal | None
    current_cost: Decimal | None


class BreakdownRow(msgspec.Struct, array_like=True):
    """Sums over a period: of `usage_by_dimension`, or of `cost_daily` for the dimension `sku`.

    `account` is null for all accounts of the provider. `value` is null for the sum of all values beyond the top ones, and
    `values` is their number. `unpriced` is the quantity without a cost.
    """

    period: str
    provider: str
    account: str | None
    dimension: str
    unit: str | None
    value: str | None
    values: int
    quantity: Decimal
    unpriced: Decimal
    cost: Decimal | None
    currency: str | None


class Unpriced(msgspec.Struct, array_like=True):
    """Sums of `unpriced_usage` over all time and over the month."""

    provider: str
    account: str
    meter: str
    unit: str | None
    reason: str
    first_date: date
    last_date: date
    quantity: Decimal
    month_quantity: Decimal


class CreditBalance(msgspec.Struct):
    """The latest day of `credit_balance_daily`, the day on which credits run out at this rate, and the balance by day."""

    provider: str
    account: str
    unit: str
    day: date
    granted: Decimal
    used: Decimal
    remaining: Decimal
    overage: Decimal
    days_left: Decimal | None
    runs_out_on: date | None
    start: date
    remaining_by_day: list[Decimal | None]


class InvoiceLine(msgspec.Struct, array_like=True):
    """A row of `invoice_reconciliation`; `advice` is a position in `ReportData.advice`."""

    provider: str
    billing_account: str
    billing_month: date
    period_start: date
    period_end: date
    invoice_id: str | None
    line_number: int | None
    line: str
    computed: Decimal | None
    net: Decimal | None
    tax: Decimal | None
    difference: Decimal | None
    currency: str | None
    status: str
    advice: int
    has_unpriced_usage: bool


class TableFreshness(msgspec.Struct, array_like=True):
    """A row of `data_freshness`."""

    provider: str
    account: str
    resource: str
    loaded_from: datetime | None
    complete_until: datetime | None
    last_fetched_at: datetime | None
    status: str


class UsageGap(msgspec.Struct, array_like=True):
    """Consecutive days of `usage_gaps` of one kind; `last_date` is inclusive."""

    provider: str
    account: str
    resource: str
    kind: str
    first_date: date
    last_date: date
    days: int


class Restated(msgspec.Struct, array_like=True):
    """Sums of `usage_restated` by the day of the restatement, in the last week; without a price, there is no currency."""

    provider: str
    account: str
    date: date
    buckets: int
    closed_buckets: int
    cost_change: Decimal | None
    currency: str | None


class Budget(msgspec.Struct, array_like=True):
    """A row of `budget_status_monthly` of the month; `provider` and `account` are null if the budget is for all of them."""

    budget: str
    provider: str | None
    account: str | None
    cost_type: str
    amount: Decimal
    currency: str
    actual: Decimal
    forecast: Decimal | None
    variance: Decimal
    share_used: Decimal
    is_over: bool
    other_currencies: str | None
    has_missing_cost: bool


class OwnerCost(msgspec.Struct, array_like=True):
    """Sums of `cost_forecast_by_owner_monthly` in the month and in the one before it.

    As in `Forecast`, charges to a billing account as a whole count for the account of the same name.
    """

    provider: str
    account: str
    team: str
    cost_centre: str
    currency: str
    previous_cost: Decimal
    cost: Decimal
    forecast: Decimal | None
    reporting_cost: Decimal | None
    """`cost` in the reporting currency; None without one, and if a rate is missing."""


class CostChange(msgspec.Struct, array_like=True):
    """Rows of `cost_drivers`: of the last complete month (`month`) and of recent anomalies (`day`)."""

    period: str
    provider: str
    account: str
    compared_with: date
    date: date
    currency: str
    dimension: str
    value: str
    previous_cost: Decimal
    cost: Decimal
    change: Decimal
    volume_change: Decimal
    price_change: Decimal
    mix_change: Decimal


class Converted(msgspec.Struct, array_like=True):
    """Sums of `cost_monthly` in the original and in the reporting currency, which is null if a rate is missing.

    As in `Forecast`, charges to a billing account as a whole count for the account of the same name.
    """

    provider: str
    account: str
    billing_month: date
    currency: str
    reporting_currency: str
    cost: Decimal
    reporting_cost: Decimal | None


class ReportData(msgspec.Struct):
    """Everything on the page. `as_of` is the latest fetch, `built_as_of` the moment of a build with --as-of, both in UTC.

    All costs are of the type `cost_type`, billed or effective, except those of budgets and invoices.
    """

    database: str
    cost_type: str
    as_of: datetime | None
    built_as_of: datetime | None
    today: date
    month: date
    weeks: Weeks
    periods: list[Period]
    accounts: list[Account]
    coverage: list[Coverage]
    forecasts: list[Forecast]
    daily_costs: list[DailyCosts]
    meters: list[Meter]
    meters_since: date | None
    week_changes: list[WeekChange]
    drivers: list[Driver]
    breakdown: list[BreakdownRow]
    unpriced: list[Unpriced]
    credits: list[CreditBalance]
    invoice_lines: list[InvoiceLine]
    invoice_lines_since: date | None
    advice: list[str]
    freshness: list[TableFreshness]
    gaps: list[UsageGap]
    omitted_gaps: int
    restated: list[Restated]
    budgets: list[Budget]
    converted: list[Converted]
    owner_costs: list[OwnerCost]
    cost_changes: list[CostChange]
    missing_rates: list[str]
    decimal_places: dict[str, int]
    fields: dict[str, list[str]]


ROW_TABLES: dict[str, type[msgspec.Struct]] = {
    "accounts": Account,
    "forecasts": Forecast,
    "week_changes": WeekChange,
    "drivers": Driver,
    "breakdown": BreakdownRow,
    "unpriced": Unpriced,
    "invoice_lines": InvoiceLine,
    "freshness": TableFreshness,
    "gaps": UsageGap,
    "restated": Restated,
    "budgets": Budget,
    "converted": Converted,
    "owner_costs": OwnerCost,
    "cost_changes": CostChange,
}
"""The tables whose rows are written without names."""
