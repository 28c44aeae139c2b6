"""The tables equal what Onepin's own client returns: every table, every column that a field of the API fills."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources.onepin.constants import VIEW_OF
from meterhouse.sources.onepin.tables import (
    USAGE_ACTIVITY,
    USAGE_BUCKETS,
    USAGE_BY_LANGUAGE,
    USAGE_DAILY,
    USAGE_SUMMARY,
)
from tests.conftest import Cli


@pytest.fixture
def usage(cli: Cli, load: Callable[..., Any], sandbox: Sandbox) -> Any:
    """The vendor's client for the workspace that was just loaded."""
    package = pytest.importorskip("onepin")
    load()
    return package.OnepinClient(api_key=sandbox.onepin.credential().api_key, base_url=sandbox.url).usage


def fields(table: Any) -> dict[str, str]:
    """The columns that a field of the API fills, with that field's path."""
    return {column.name: column.field for column in table.columns if column.field}


def at(item: Any, path: str) -> Any:
    """The value at a path of the vendor's model, in the table's form."""
    for name in path.split("."):
        item = getattr(item, name, None)
    if isinstance(item, float):
        return Decimal(str(item)).quantize(Decimal("1e-9"))
    return json.dumps(item, sort_keys=True) if isinstance(item, dict) else item


def same(cli: Cli, table: Any, items: list[Any], where: str = "true", **shared: Any) -> bool:
    """Whether the table holds these items, in any order."""
    named = fields(table)
    columns = ", ".join(f'"{name}"::text' if name == "date" else f'"{name}"' for name in named)
    rows = cli.rows(f"select {columns} from onepin.{table.name} where {where}")
    expected = [tuple(at(shared.get(path, item), path) for path in named.values()) for item in items]
    assert expected
    return sorted(rows, key=repr_of) == sorted(expected, key=repr_of)


def repr_of(row: tuple[Any, ...]) -> list[str]:
    """A sort key for rows of any types and nulls; equal numbers are equal, whole or decimal."""
    return [f"{value:.9f}" if isinstance(value, int | Decimal) else str(value) for value in row]


def test_every_table_equals_the_vendors_client(cli: Cli, usage: Any) -> None:
    """Ninety days, twelve weeks and months, the totals of each range and of its languages, and all events of the feed.

    Credits without a language equal the vendor's own number.
    """
    assert same(cli, USAGE_DAILY, usage.usage_summary(range="90d").data.daily)
    for view in ("weekly", "monthly"):
        buckets = usage.usage_summary(activity_view=view).data.activity.buckets
        assert same(cli, USAGE_BUCKETS, buckets, f"view = '{view}'")
        edges = cli.rows(f"select bucket_start, bucket_end from onepin.usage_buckets where view = '{view}' order by 1")
        assert edges == [(bucket.start, bucket.end) for bucket in buckets]

    for range_, view in VIEW_OF.items():
        summary = usage.usage_summary(range=range_, activity_view=view).data
        assert same(cli, USAGE_SUMMARY, [summary], f"range = '{range_}'")
        languages = usage.usage_by_language(range=range_).data
        total = dict.fromkeys(("period.start", "period.end", "total_credits", "untagged_credits"), languages)
        assert same(cli, USAGE_BY_LANGUAGE, languages.languages, f"range = '{range_}' and locale_code <> ''", **total)
        assert cli.rows(f"select credits from onepin.usage_by_language where range = '{range_}' and locale_code = ''") == [
            (languages.untagged_credits,)
        ]

    seen: list[Any] = []
    cursor = None
    while cursor is not None or not seen:
        answer = usage.usage_activity(range="90d", limit=100, cursor=cursor)
        seen += answer.data
        cursor = answer.pagination.next
    assert same(cli, USAGE_ACTIVITY, seen)
