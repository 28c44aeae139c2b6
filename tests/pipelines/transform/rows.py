"""The raw rows of a database that several tests share; each test has its own accounts."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import yaml

from meterhouse.sources.registry import PROVIDERS
from tests.pipelines.transform.warehouse import PROJECT, usage, window

REQUESTED_FROM = date(2025, 12, 20)
FIRST = date(2026, 1, 1)
TODAY = date(2026, 5, 31)
NOW = "2026-05-31 13:20:00"
GAP = (date(2026, 4, 10), date(2026, 4, 12))
SPIKE = date(2026, 5, 13)

OWNED_DAYS = ("2025-05-14", "2025-05-15")
OWNED_APPS = {"one": 100, "team-1": 50, "team-2": 25, "other": 10}
"""Images of the account `owned` on each of the two days, at 0.002."""

APP_DAY = "2025-05-20"
APP_USAGE = (("images", "image", 29_766), ("pages", "pdf-page", 14_883), ("conversions", "conversion", 100))
"""What three apps used in one hour of that day: images at 0.002, pages at 0.005, and a meter without a price."""

FORMULA_HOURS = [
    (f"2025-04-{day:02} {hour:02}:00", (day * 7919 + hour * 104_729) % 9_973) for day in range(1, 31) for hour in range(24)
]
"""Usage of more than a million images, spread unevenly over a month."""

COST_ROWS = (
    *(usage(f"2025-05-{day:02} 10:00", "image", 100_000, account="images") for day in range(1, 16)),
    *(usage(f"2025-05-{day:02} 10:00", "pdf-page", 400_000, account="pages", app_id=f"a{day}") for day in range(1, 6)),
    *(usage(f"2025-05-01 {hour:02}:00", "strokes-session", 500_000, account="sessions") for hour in range(4)),
    *(usage(f"2025-05-{day:02} 10:00", "image", 300_000, account="mixed") for day in range(1, 11)),
    *(usage(f"2025-05-{day:02} 10:00", "pdf-page", 80_000, account="mixed") for day in range(1, 11)),
    *(usage(f"2025-05-{day:02} 10:00", "strokes-session", 50_000, account="mixed") for day in range(1, 11)),
    usage("2025-02-28 23:00", "image", 150_000, account="history"),
    usage("2025-03-01 00:00", "image", 150_000, account="history"),
    usage("2024-11-30 23:00", "pdf-page", 50_000, account="history"),
    usage("2024-12-01 00:00", "pdf-page", 50_000, account="history"),
    usage("2022-06-05 23:00", "image", 10, account="history"),
    usage("2025-05-01 10:00", "conversion", 7, account="surprising"),
    usage("2025-05-01 10:00", "image-of-tomorrow", 8, account="surprising"),
    usage("2025-05-01 10:00", "image", 9, account="surprising"),
    usage("2025-05-01 11:00", "image", 0, account="surprising"),
    usage("2025-05-01 00:00", "image", 11, account="by_day", timespan="day"),
    usage("2025-05-05 00:00", "image", 12, account="by_week", timespan="week"),
    usage("2025-05-01 00:00", "image", 13, account="by_month", timespan="month"),
    *(
        usage(start, ("image", "image-async")[count % 2], count, account="formula", app_id=("f1", "f2")[count % 3 % 2])
        for start, count in FORMULA_HOURS
    ),
    usage("2025-05-31 22:00", "image", 14, account="running"),
    usage("2025-05-31 23:00", "image", 15, account="running", is_complete=False),
    *(
        window("2022-06-01 00:00", "2025-06-01 00:00", account=account)
        for account in (
            *("images", "pages", "sessions", "mixed", "history", "surprising", "by_day", "by_week", "by_month", "formula"),
        )
    ),
    window("2022-06-01 00:00", "2025-05-31 23:00", account="running"),
)
"""Usage of Mathpix around price tiers, price changes and buckets of all lengths; each account is a case."""


def dates(first: date, last: date) -> list[date]:
    return [first + timedelta(days) for days in range((last - first).days + 1)]


def quantity(series: int, day: date) -> int:
    """A made-up amount with a weekly pattern, days without usage, and one spike."""
    if day == SPIKE:
        return 9_000
    return (
        0 if day.toordinal() % 11 == series else (400 if day.isoweekday() < 6 else 90) + (day.toordinal() * 37 + series) % 53
    )


def raw_tables(provider: str) -> list[str]:
    """The statements that create all raw tables of a provider, or of billing, with the types that its sources declare."""
    page = PROJECT / "models" / "staging" / provider / f"_{provider}__sources.yml"
    (source,) = yaml.safe_load(page.read_text())["sources"]
    statements = [f"create schema {provider}"]
    for table in source["tables"]:
        columns = ", ".join('"{name}" {data_type}'.format_map(column) for column in table["columns"])
        statements.append(f"create table {provider}.{table['name']} ({columns})")
    return statements


def row(table: str, **values: object) -> str:
    """The statement that stores one row; other columns are null."""
    texts = [str(value) if isinstance(value, (int, Decimal)) else f"'{value}'" for value in values.values()]
    names = ", ".join(f'"{name}"' for name in values)
    return f"insert into {table} ({names}) values ({', '.join(texts)})"


def fetched_window(
    provider: str, resource: str, account: str, part: str, first: date, until: str, complete_until: str
) -> str:
    """The statement that stores a fetched window, complete up to `complete_until`."""
    return row(
        f"{provider}.fetched_windows",
        resource=resource,
        account=account,
        part=part,
        window_start=f"{first} 00:00:00+00",
        window_end=f"{until}+00",
        complete_until=f"{complete_until}+00",
        row_count=1,
        fetched_at=f"{min(until, NOW)}+00",
    )


def trend_rows() -> Iterator[str]:
    """Five months of all providers. One Mathpix account has a gap of three days; another lacks new rows in one table."""
    stamp = {"fetched_at": f"{NOW}+00", "row_version": "v"}
    for day in dates(FIRST, TODAY):
        done = {"is_complete": day < TODAY} | stamp
        for series, account in enumerate(("default", "holed")):
            if not (amount := quantity(series, day)) or (account == "holed" and GAP[0] <= day <= GAP[1]):
                continue
            yield row(
                "mathpix.ocr_usage_by_usage_type",
                account=account,
                timespan="hour",
                bucket_start=f"{day} 09:00:00+00",
                bucket_end=f"{day} 10:00:00+00",
                app_id=account,
                group_id="g",
                usage_type="image",
                request_args_hash="",
                count=amount,
                **done | {"is_complete": True},
            )
        yield row(
            "reducto.usage_by_product",
            account="default",
            org_id="org",
            date=day,
            product="parse",
            credits=Decimal(quantity(2, day)) / 4,
            request_count=1,
            is_unrated=False,
            **done,
        )
        yield row(
            "onepin.usage_daily",
            account="default",
            workspace_id="w",
            timezone="UTC",
            date=day,
            credits=quantity(3, day),
            characters=10 * quantity(3, day),
            lines=1,
            runs=1,
            **done,
        )
        yield row(
            "scopix.usage_daily",
            account="default",
            date=day,
            api_key_id="",
            total_credits=quantity(4, day),
            total_requests=1,
            **done,
        )
    whole = f"{TODAY + timedelta(1)} 00:00:00"
    hour, day_before = f"{TODAY} 13:00:00", f"{TODAY} 00:00:00"
    yield fetched_window("mathpix", "ocr_usage_by_usage_type", "default", "", REQUESTED_FROM, f"{TODAY} 14:00:00", hour)
    yield fetched_window("mathpix", "ocr_usage_by_usage_type", "holed", "", REQUESTED_FROM, *[f"{GAP[0]} 00:00:00"] * 2)
    after = GAP[1] + timedelta(1)
    yield fetched_window("mathpix", "ocr_usage_by_usage_type", "holed", "", after, f"{TODAY} 14:00:00", hour)
    yield fetched_window(
        "mathpix", "ocr_usage_by_app_id", "default", "", REQUESTED_FROM, "2026-05-20 09:00:00", "2026-05-20 08:00:00"
    )
    yield fetched_window("reducto", "usage_by_product", "default", "org", FIRST, whole, day_before)
    yield fetched_window("onepin", "usage_daily", "default", "w|UTC", FIRST, whole, day_before)
    yield fetched_window("scopix", "usage_daily", "default", "", FIRST, whole, day_before)


def dimension_rows() -> Iterator[str]:
    """Uneven numbers in every grouping, and hours with and without a usage type; all accounts are named "parts"."""
    for hour in range(12):
        start = f"2025-05-01 {hour:02}:00"
        images, pages = 7 * hour + 1, 11 * hour + 3
        yield usage(start, "image", images, account="parts")
        yield usage(start, "pdf-page", pages, account="parts")
        yield usage(start, "conversion", 2, account="parts")
        meter = "image" if hour % 2 else ""
        yield usage(start, meter, images, account="parts", grouping="app_id", app_id=f"App {hour}")
        yield usage(start, "pdf-page", pages - 1, account="parts", grouping="app_id", app_id=f"app-{hour}")
        yield usage("2025-05-02 10:00", "image", images, account="parts")
        yield usage("2025-05-02 10:00", "image", images, account="parts", grouping="app_id", app_id=f"ä{hour}")
    yield window("2025-05-01 00:00", "2025-05-03 00:00", account="parts")
    stamp = {"is_complete": True, "fetched_at": "2026-05-03 00:00+00", "row_version": "v"}
    for grouping, values in {"product": ("parse",), "file_type": ("pdf", "", "DOCX")}.items():
        used = {"credits": Decimal("10.5") / len(values), "request_count": 3 // len(values), "is_unrated": False}
        for value in values:
            keys = {"account": "parts", "org_id": "parts", "date": "2026-05-01", grouping: value}
            yield row(f"reducto.usage_by_{grouping}", **keys, **used, **stamp)
    workspace = {"account": "parts", "workspace_id": "parts"}
    counts = {"credits": 9, "characters": 8, "lines": 7, "runs": 3}
    yield row("onepin.usage_daily", **workspace, timezone="Asia/Tokyo", date="2026-05-02", **counts, **stamp)
    for event in ("e1", "e2"):
        yield row(
            "onepin.usage_activity",
            **workspace,
            id=event,
            timestamp="2026-05-01 20:00+00",
            user_id="u1",
            user_name="Ada",
            action="workflow_run",
            kind="completed",
            resource_type="workflow",
            resource_id="w1",
            resource_name="Trailer",
            **stamp,
        )
    until = "2026-05-03 00:00:00"
    yield fetched_window("onepin", "usage_daily", "parts", "parts|Asia/Tokyo", date(2026, 5, 1), until, until)


def owner_rows() -> Iterator[str]:
    """Owners by value and pattern, of a total without a meter, and of a rest that is shared in each way."""
    owners = [
        ("mathpix", "formula", "app_id", "f1", "a", "2025-04-01", "2025-04-15", None),
        ("mathpix", "formula", "app_id", "f1", "b", "2025-04-15", None, None),
        ("mathpix", "formula", "", "", "b", "2025-04-01", None, "proportional"),
        ("mathpix", "formula", "", "", "c", "2025-04-01", None, "proportional"),
        ("mathpix", "parts", "app_id", "app-*", "a", "2025-04-01", None, None),
        ("mathpix", "parts", "app_id", "App 1*", "b", "2025-04-01", None, None),
        ("mathpix", "parts", "app_id", "ä*", "c", "2025-04-01", None, None),
        *(("mathpix", "mixed", "", "", team, "2025-04-01", None, "even") for team in ("a", "b", "c")),
        ("reducto", "", "file_type", "*", "a", "2025-04-01", None, None),
        ("scopix", "", "", "", "a", "2025-04-01", None, "0.333333333"),
        ("mathpix", "owned", "app_id", "one", "a", "2025-01-01", OWNED_DAYS[1], None),
        ("mathpix", "owned", "app_id", "one", "b", OWNED_DAYS[1], None, None),
        ("mathpix", "owned", "app_id", "team-*", "c", "2025-01-01", None, None),
        ("mathpix", "owned", "", "", "a", "2025-01-01", None, "0.5"),
        ("mathpix", "owned", "", "", "b", "2025-01-01", None, "0.25"),
        ("mathpix", "whole", "", "", "d", "2025-01-01", OWNED_DAYS[1], None),
        ("mathpix", "whole", "", "", "e", OWNED_DAYS[1], None, None),
        ("", "", "", "", "d", "2026-01-01", None, None),
    ]
    columns = ("provider", "account", "dimension", "value", "team", "valid_from", "valid_to", "share")
    for number, values in enumerate(owners, 2):
        given = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
        more = {"cost_centre": "4711", "tags": '{"env": "prod"}'} if given["team"] == "d" else {"cost_centre": ""}
        yield row("billing.owners", **given, **more, source="owners.csv", row_number=number)
    for day in OWNED_DAYS:
        yield usage(f"{day} 10:00", "image", sum(OWNED_APPS.values()), account="owned")
        yield usage(f"{day} 10:00", "image", 500, account="whole")
        for app, images in OWNED_APPS.items():
            yield usage(f"{day} 10:00", "image", images, account="owned", app_id=app, grouping="app_id")
    for account in ("owned", "whole"):
        yield window(f"{OWNED_DAYS[0]} 00:00", "2025-05-16 00:00", account=account)


def budget_rows() -> Iterator[str]:
    """A budget of each scope."""
    budgets = [
        ("total", "", "", "", "", "", 1000, "billed", "2025-05-01", None),
        ("provider", "mathpix", "", "", "", "", 1000, "effective", "2025-05-01", None),
        ("account", "mathpix", "owned", "", "", "", Decimal("0.5"), "billed", "2025-05-01", "2025-07-01"),
        ("owner", "", "", "", "", "c", 1000, "effective", "2025-05-01", "2025-06-01"),
        ("dimension", "mathpix", "owned", "app_id", "team-*", "", 1, "billed", "2025-05-01", "2025-06-01"),
    ]
    columns = "scope", "provider", "account", "dimension", "value", "team", "amount", "cost_type", "valid_from", "valid_to"
    for number, values in enumerate(budgets, 2):
        given = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
        yield row("billing.budgets", **given, cost_centre="", currency="USD", source="budgets.csv", row_number=number)


RATES = {"2025-01-01": Decimal("0.9"), OWNED_DAYS[1]: Decimal("0.87654321")}
"""Euros for a US dollar. The last one applies for 366 days, so the newest days have none."""


def reporting_rows() -> Iterator[str]:
    """Rates into the reporting currency, and metrics of the owner `c`, whose apps used 75 images at 0.002 on each day."""
    loaded = {"loaded_at": f"{NOW}+00"}
    for number, (day, rate) in enumerate(RATES.items(), 2):
        given = {"currency": "USD", "date": day, "rate": rate, "reporting_currency": "EUR"}
        yield row("billing.fx_rates", **given, **loaded, source="fx_rates.csv", row_number=number)
    for number, (day, value) in enumerate((("2025-05-31", 60), ("2025-05-01", 40), ("2025-07-31", 5)), 2):
        scope = {"metric": "pages", "date": day, "scope": "owner", "provider": "", "account": "", "team": "c"}
        more = {"cost_centre": "", "value": value, "source": "business_metrics.csv", "row_number": number}
        yield row("billing.business_metrics", **scope, **more, **loaded)


def app_rows() -> Iterator[str]:
    """Usage of three apps, whose types the grouping by app leaves out.

    The grouping by type and app has them for the accounts `apps` and `apps_prepaid`. For `apps_deviating` it counts an image
    more, and for `apps_estimated` it is not loaded.
    """
    start = f"{APP_DAY} 10:00"
    for account in ("apps", "apps_prepaid", "apps_deviating", "apps_estimated"):
        yield window("2025-05-01 00:00", "2025-06-01 00:00", account=account)
        for name, meter, count in APP_USAGE:
            if meter == "conversion" and account != "apps":
                continue
            app = f"{name} of {account}"
            yield usage(start, meter, count, account=account)
            yield usage(start, "", count, account=account, app_id=app, grouping="app_id")
            if account != "apps_estimated":
                deviation = 1 if (account, name) == ("apps_deviating", "images") else 0
                both = "usage_type_and_app_id"
                yield usage(start, meter, count + deviation, account=account, app_id=app, grouping=both)
    yield row(
        "billing.credit_grants",
        provider="mathpix",
        billing_account="apps_prepaid",
        grant_id="money",
        kind="purchased",
        unit="USD",
        amount=Decimal(200),
        starts_on=APP_DAY,
        cost=Decimal(100),
        currency="USD",
        source="credit_grants.csv",
        row_number=2,
    )
    for number, (name, _, _) in enumerate(APP_USAGE, 100):
        keys = {"provider": "mathpix", "account": "apps_prepaid", "dimension": "app_id", "value": f"{name} of apps_prepaid"}
        yield row(
            "billing.owners",
            **keys,
            team=name,
            cost_centre="",
            valid_from="2025-01-01",
            source="owners.csv",
            row_number=number,
        )


def raw_rows() -> Iterator[str]:
    """The statements that create all raw tables and store all rows."""
    for provider in (*PROVIDERS, "billing"):
        yield from raw_tables(provider)
    yield from owner_rows()
    yield from budget_rows()
    yield from reporting_rows()
    yield from app_rows()
    yield from COST_ROWS
    yield from trend_rows()
    yield from dimension_rows()
