"""What the page says, typed: every number as the marts have it, money and quantities as Decimals, which leave as text.

A struct that is `array_like` is written as a row without names; `Page.fields` names its columns once for all rows.
"""

from datetime import date, datetime
from decimal import Decimal

import msgspec


class Period(msgspec.Struct):
    """Days that the page can be limited to: from `start` to `end`, which is excluded."""

    key: str
    label: str
    start: date
    end: date


class Weeks(msgspec.Struct):
    """The last seven days that are whole, and the seven before them."""

    before: date
    start: date
    end: date


class Account(msgspec.Struct, array_like=True):
    """An account that can be picked, and who gets its invoices."""

    provider: str
    account: str
    billing_accounts: list[str]


class Coverage(msgspec.Struct):
    """The days of an account that usage is known of, from `start` on: how many, and which of them are not whole."""

    provider: str
    account: str
    start: date
    days: int
    incomplete: list[int]


class Forecast(msgspec.Struct, array_like=True):
    """A row of `cost_forecast_monthly`."""

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
    as_of_date: date | None
    remaining_days: int
    basis: str


class CostSeries(msgspec.Struct):
    """Billed cost of `cost_daily`, day by day from `start` on; null where the mart has no row."""

    provider: str
    account: str
    currency: str
    start: date
    costs: list[Decimal | None]


class MeterSeries(msgspec.Struct):
    """A meter of `usage_trends_daily`, day by day from `start` on; `anomalies` are numbers of days, with their scores."""

    provider: str
    account: str
    meter: str
    unit: str | None
    start: date
    quantities: list[Decimal | None]
    averages_7d: list[Decimal | None]
    averages_28d: list[Decimal | None]
    anomalies: dict[int, Decimal]
    last: "LastDay"


class LastDay(msgspec.Struct):
    """The last whole day of a meter, of `usage_trends_daily`, and the month up to the last day that was loaded."""

    day: date
    quantity: Decimal | None
    average_7d: Decimal | None
    average_28d: Decimal | None
    week_over_week: Decimal | None
    month_over_month: Decimal | None
    month_to_date: Decimal | None


class WeekChange(msgspec.Struct, array_like=True):
    """Sums of `cost_daily` over two weeks, and how many days of each are whole."""

    provider: str
    account: str
    currency: str | None
    cost_before: Decimal | None
    cost_now: Decimal | None
    days_before: int
    days_now: int


class Driver(msgspec.Struct, array_like=True):
    """Sums of `usage_by_dimension` over two weeks for one value; `account` is null for all accounts of the provider."""

    provider: str
    account: str | None
    dimension: str
    value: str
    unit: str | None
    currency: str | None
    quantity_before: Decimal
    quantity_now: Decimal
    cost_before: Decimal | None
    cost_now: Decimal | None


class Slice(msgspec.Struct, array_like=True):
    """Sums of `usage_by_dimension`, or as dimension `sku` of `cost_daily`, over a period.

    `account` is null for all accounts of the provider, `value` for all values beyond the first ones, of which there are
    `values`. `unpriced` is the part of the quantity that has no cost.
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
    """Sums of `unpriced_usage`, of all time and of the month."""

    provider: str
    account: str
    meter: str
    unit: str | None
    reason: str
    first_date: date
    last_date: date
    quantity: Decimal
    quantity_of_month: Decimal


class Credits(msgspec.Struct):
    """The last day of `credit_balance_daily`, when they run out at this rate, and what was left day by day."""

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
    left_by_day: list[Decimal | None]


class Line(msgspec.Struct, array_like=True):
    """A row of `invoice_reconciliation`; `advice` is a place in `Page.advice`."""

    provider: str
    account: str
    billing_month: date
    line: str
    computed: Decimal | None
    computed_high: Decimal | None
    invoiced: Decimal | None
    difference: Decimal | None
    tolerance: Decimal | None
    currency: str
    status: str
    advice: int
    has_unpriced_usage: bool


class Source(msgspec.Struct, array_like=True):
    """A row of `data_freshness`."""

    provider: str
    account: str
    resource: str
    loaded_from: datetime | None
    complete_until: datetime | None
    last_fetched_at: datetime | None
    row_count: int
    hours_behind: int | None
    account_hours_behind: int | None
    status: str


class MissedWindow(msgspec.Struct, array_like=True):
    """Days of `usage_gaps` that follow each other, of one kind; the last one is included."""

    provider: str
    account: str
    resource: str
    kind: str
    first_date: date
    last_date: date
    days: int


class Page(msgspec.Struct):
    """All that the page says. `as_of` is the newest fetch, in UTC; what is left out for its size is counted."""

    source: str
    as_of: datetime | None
    today: date
    month: date
    weeks: Weeks
    periods: list[Period]
    accounts: list[Account]
    coverage: list[Coverage]
    forecasts: list[Forecast]
    costs: list[CostSeries]
    meters: list[MeterSeries]
    meters_from: date | None
    changes: list[WeekChange]
    drivers: list[Driver]
    slices: list[Slice]
    unpriced: list[Unpriced]
    credits: list[Credits]
    lines: list[Line]
    lines_from: date | None
    advice: list[str]
    sources: list[Source]
    gaps: list[MissedWindow]
    gaps_left_out: int
    fields: dict[str, list[str]]


ROWS: dict[str, type[msgspec.Struct]] = {
    "accounts": Account,
    "forecasts": Forecast,
    "changes": WeekChange,
    "drivers": Driver,
    "slices": Slice,
    "unpriced": Unpriced,
    "lines": Line,
    "sources": Source,
    "gaps": MissedWindow,
}
"""The tables of the page that are written as rows without names."""
