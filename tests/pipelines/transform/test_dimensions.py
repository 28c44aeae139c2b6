"""`usage_by_dimension`: every dimension adds up to the vendor's total, in quantity and in cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.sandbox.reducto.fixtures import CREDENTIALS as REDUCTO
from meterhouse.pipelines.sandbox.scopix.fixtures import CREDENTIALS as SCOPIX
from tests.conftest import Cli
from tests.pipelines.transform.warehouse import Warehouse, build_selected, d

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 3, 20, 10, 30, tzinfo=UTC)
START = "2026-03-16"
KEYS = [credential.api_key_id for credential in SCOPIX if credential.account == "default"]
TABLES = (
    *("mathpix", "reducto", "onepin.usage_daily", "onepin.usage_activity"),
    *("scopix.usage_events", "scopix.usage_by_period", "scopix.usage_daily"),
    *("scopix.tokens_daily", "scopix.file_tokens", "scopix.conversation_tokens"),
)


@pytest.fixture
def providers() -> tuple[str, ...]:
    return ("mathpix", "reducto", "onepin", "scopix")


@pytest.fixture
def clock() -> Iterator[None]:
    """A clock that stands at a Friday morning in March, so that every table is of the same moment."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def short(clock: None, monkeypatch: pytest.MonkeyPatch, providers: tuple[str, ...], cli: Cli) -> Cli:
    """The command, with a configuration that requests five days, and Scopix key by key for three keys."""
    for provider in providers:
        monkeypatch.setenv(f"SOURCES__{provider.upper()}__INITIAL_DATE", START)
    monkeypatch.delenv("SOURCES__ONEPIN__INITIAL_DATE")
    monkeypatch.setenv("SOURCES__SCOPIX__API_KEY_IDS", ",".join(KEYS))
    return cli


def cut(cli: Cli, provider: str, dimension: str, unit: str | None = None) -> dict[str, Decimal]:
    """The usage of each value since the start, in one unit or in all units."""
    condition = f"unit = '{unit}'" if unit else "true"
    return dict(
        cli.rows(
            "select value, sum(quantity) from usage.usage_by_dimension"
            f" where provider = '{provider}' and dimension = '{dimension}' and {condition} and date >= date '{START}'"
            " group by value having sum(quantity) <> 0 or value = '(unattributed)'"
        )
    )


def vendor_totals(values: Iterable[Any], amount: Callable[..., Any]) -> dict[str, Decimal]:
    """The amount of each value in the sandbox."""
    amounts = {str(value or ""): Decimal(str(amount(value))) for value in values}
    return {value: amount for value, amount in amounts.items() if amount}


def test_each_value_has_the_usage_that_the_vendor_counted(short: Cli, sandbox: Sandbox) -> None:
    """Usage by value equals the data of the sandbox for every provider, and the cost is allocated without a remainder."""
    short("run", *TABLES, "--no-models")
    build_selected("usage_by_dimension", "cost_daily")

    counts = sandbox.mathpix.usage
    for field in ("usage_type", "app_id", "request_args_hash"):
        values = {getattr(row, field) for row in counts.rows(START, NOW)}
        assert len(values) > 1
        assert cut(short, "mathpix", field) == vendor_totals(values, lambda v, f=field: counts.total(START, NOW, **{f: v}))
    cost = short.rows("select sum(billed_cost), sum(effective_cost) from usage.cost_daily")
    assert cost[0][0] > Decimal(100)
    allocated = "sum(allocated_cost), sum(allocated_effective_cost)"
    for field in ("usage_type", "app_id", "request_args_hash"):
        assert cost == short.rows(f"select {allocated} from usage.usage_by_dimension where dimension = '{field}'")
    exact = "select distinct unit = 'mixed', attribution_method from usage.usage_by_dimension where dimension = 'app_id'"
    assert short.rows(f"{exact} and unit is not null") == [(False, "exact")]

    exports = sandbox.reducto.usage
    orgs = next(credential.org_ids for credential in REDUCTO if credential.account == "default")
    loaded = {org for (org,) in short.rows("select distinct org_id from reducto.usage_by_product")}
    rows = [row for org in orgs if org in loaded for row in exports.rows(START, org_id=org)]
    for field in ("product", "feature", "api_key", "file_type"):
        values = {getattr(row, field) for row in rows}
        for unit, column in (("credit", "credits"), ("request", "requests")):
            assert cut(short, "reducto", field, unit) == vendor_totals(
                values, lambda v, f=field, c=column: sum(getattr(row, c) for row in rows if getattr(row, f) == v)
            )

    activity = sandbox.onepin.usage.events("default", datetime.fromisoformat(f"{START}T00:00+00:00"), NOW)
    outcomes = Counter(event.kind for event in activity if event.action == "workflow_run")
    by_outcome = cut(short, "onepin", "outcome", "run")
    (daily_runs,) = short.rows(f"select sum(runs) from onepin.usage_daily where date >= date '{START}'")[0]
    assert sum(by_outcome.values()) == daily_runs
    assert {value: count for value, count in by_outcome.items() if value != "(unattributed)"} == dict(outcomes)

    events = [event for event in sandbox.scopix.usage.events("default", START) if event.api_key_id in KEYS]
    for field in ("endpoint", "operation_type", "status_code", "api_key_id"):
        requests = Counter(str(getattr(event, field)) for event in events)
        assert cut(short, "scopix", field, "request") == dict(requests)
    assert cut(short, "scopix", "api_key_id", "credit") == vendor_totals(
        set(KEYS), lambda key: sandbox.scopix.usage.total(START, what="credits", api_key_id=key)
    )
    tokens = sum(event.input_tokens + event.output_tokens for event in sandbox.scopix.usage.events("default", START))
    for field in ("image_id", "session_id"):
        parts = cut(short, "scopix", field, "token")
        assert sum(parts.values()) == tokens
        assert 0 < parts["(unattributed)"] < tokens

    assert short.rows(
        "select count(*) from usage.usage_by_dimension where provider <> 'mathpix' and allocated_cost is not null"
    ) == [(0,)]


def test_usage_without_a_value_is_unattributed(short: Cli, sandbox: Sandbox) -> None:
    """Usage that the vendor restated after the apps were loaded is unattributed and not spread over the apps."""
    counts = sandbox.mathpix.usage
    apps = {row.app_id for row in counts.rows(START, NOW)}
    before = vendor_totals(apps, lambda app: counts.total(START, NOW, app_id=app))
    short("run", "mathpix", "--no-models")
    counts.restate("2026-03-17", factor=3)
    short("run", "mathpix.ocr_usage_by_usage_type", "--no-models")
    build_selected("usage_by_dimension")
    after = cut(short, "mathpix", "app_id")
    assert after.pop("(unattributed)") == counts.total(START, NOW) - sum(before.values())
    assert after == before


def test_costs_add_up_to_the_last_decimal(built: Warehouse) -> None:
    """Costs are exact for each day, including days on which only some hours of an app have a usage type."""
    assert built.query(
        "select date, unit, sum(quantity), sum(allocated_cost), count(*) > 10 from usage.usage_by_dimension"
        " where account = 'parts' and dimension = 'app_id' group by date, unit order by date"
    ) == [
        (date(2025, 5, 1), "mixed", d("1260"), d("4.758"), True),  # 474 x 0.002 + 762 x 0.005, 24 unpriced
        (date(2025, 5, 2), "image", d("474"), d("0.948"), True),
    ]


def test_app_with_a_usage_type_has_its_exact_cost(built: Warehouse) -> None:
    """On a day on which another app has no usage type, only the cost of that other app is an estimate."""
    assert built.query(
        "select quantity, allocated_cost from usage.usage_by_dimension"
        " where date = date '2025-05-01' and value in ('App 3', 'app-3') order by quantity"
    ) == [(d("22"), d("0.044")), (d("35"), d("0.175"))]


def test_each_app_pays_the_prices_of_its_own_usage(built: Warehouse) -> None:
    """An app with only images pays their price, and an app with only unpriced usage nothing."""
    assert built.table(
        "usage_by_dimension",
        "value, unit, quantity, allocated_cost, allocated_effective_cost, attribution_method",
        "account = 'apps' and dimension = 'app_id'",
    ) == [
        ("conversions of apps", None, d("100"), None, None, "exact"),
        ("images of apps", "image", d("29766"), d("59.532"), d("59.532"), "exact"),
        ("pages of apps", "page", d("14883"), d("74.415"), d("74.415"), "exact"),
    ]


@pytest.mark.parametrize("account", ["apps_estimated", "apps_deviating"])
def test_without_agreeing_types_the_cost_of_an_app_is_estimated(built: Warehouse, account: str) -> None:
    """Where the types of apps are not loaded, or add up to something else, each count has the mean price of the day."""
    assert built.table(
        "usage_by_dimension",
        "value, unit, quantity, allocated_cost, attribution_method",
        f"account = '{account}' and dimension = 'app_id'",
    ) == [
        (f"images of {account}", "mixed", d("29766"), d("89.298"), "estimated"),
        (f"pages of {account}", "mixed", d("14883"), d("44.649"), "estimated"),
    ]


def test_prepaid_usage_costs_its_owner_what_its_own_meter_took(built: Warehouse) -> None:
    """A prepaid credit of 200 USD for 100 pays for images and pages: nothing is billed, and each takes half of its cost."""
    assert built.table(
        "cost_by_owner_daily", "team, billed_cost, effective_cost", "account = 'apps_prepaid' and effective_cost <> 0"
    ) == [
        ("images", d("0"), d("29.766")),
        ("pages", d("0"), d("37.2075")),
    ]


def test_runs_count_on_their_local_day(built: Warehouse) -> None:
    """A run at five in the morning in Tokyo counts on that day; the run without an event is the remainder."""
    assert built.query(
        "select value, date, quantity, allocated_cost from usage.usage_by_dimension"
        " where provider = 'onepin' and account = 'parts' and dimension = 'user_id' order by value"
    ) == [("(unattributed)", date(2026, 5, 2), d("1"), None), ("u1", date(2026, 5, 2), d("2"), None)]


@pytest.mark.parametrize("amount", ["quantity", "allocated_cost", "allocated_effective_cost"])
def test_finds_a_missing_part(built: Warehouse, amount: str) -> None:
    """The data test fails if a sum is off by the last decimal."""
    change = f"update usage.usage_by_dimension set {amount} = {amount} {{}} 0.000000001 where value = 'app-3'"
    built.execute([change.format("+")])
    try:
        outcome = built.dbt("test --select assert_dimensions_add_up_to_total")
        assert outcome.having("fail") == ["assert_dimensions_add_up_to_total"]
    finally:
        built.execute([change.format("-")])
