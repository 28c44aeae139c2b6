from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from dlt.common.normalizers.naming.snake_case import NamingConvention
from hypothesis import example, given
from hypothesis import strategies as st

from meterhouse.sources._core.errors import UnexpectedValue
from meterhouse.sources._core.schema import (
    Column,
    Table,
    computed,
    count,
    day,
    decimal,
    dimension,
    document,
    first_duplicate,
    flag,
    instant,
    parse_vectorized,
    row_versions,
    text,
)

TABLE = Table(
    "vendor",
    "/usage",
    "usage_by_kind",
    (
        computed("timespan", pa.string(), "length"),
        instant("bucket_start", "start", field="from_date"),
        dimension("kind", "kind"),
        count("count", "how many"),
    ),
    ("timespan", "bucket_start", "kind"),
    "bucket_start",
)


def row(**changes: Any) -> dict[str, Any]:
    return {"from_date": "2026-01-01T00:00:00.000Z", "kind": "image", "count": 21} | changes


def read(*rows: Any) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = TABLE.rows(rows, timespan="hour").to_pylist()
    return answer


def test_a_documented_row_becomes_typed_columns() -> None:
    """Times are UTC timestamps, counts whole numbers, dimensions texts."""
    assert read(row()) == [
        {"timespan": "hour", "bucket_start": datetime(2026, 1, 1, tzinfo=UTC), "kind": "image", "count": 21}
    ]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("image", "image"),
        ("", ""),
        (None, ""),
        ([], ""),
        (["image"], "image"),
        (["b", "a"], '["a", "b"]'),
        (["a", "b", "a"], '["a", "b"]'),
    ],
)
def test_every_form_of_a_dimension_becomes_one_text(said: Any, kept: str) -> None:
    """Scalars, arrays in any order, empty strings and null all fit one key column."""
    assert read(row(kind=said))[0]["kind"] == kept


def test_an_absent_dimension_is_empty() -> None:
    """A dimension that the response lacks is '' in the key."""
    only = row()
    del only["kind"]
    assert read(only)[0]["kind"] == ""


@pytest.mark.parametrize(
    "moment", ["2026-01-01T00:00:00", "2026-01-01T01:00:00+01:00", "2026-01-01", "2026-01-01T00:00:00Z"]
)
def test_times_are_utc(moment: str) -> None:
    """A time without a zone is UTC; one with a zone is converted."""
    assert read(row(from_date=moment))[0]["bucket_start"] == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [5, Decimal("5.0"), Decimal("5E0"), "5"])
def test_a_whole_number_may_be_written_with_a_fraction_or_as_text(value: Any) -> None:
    """5.0 and "5" become 5, without a second column or a float."""
    assert read(row(count=value))[0]["count"] == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", "5.5"),
        ("count", "\u0665"),
        ("count", ""),
        ("count", None),
        ("count", True),
        ("count", Decimal("5.5")),
        ("count", 2**63),
        ("count", [1]),
        ("from_date", None),
        ("from_date", 1700000000),
        ("from_date", "soon"),
        ("kind", 7),
        ("kind", {"a": 1}),
        ("kind", [1, 2]),
    ],
)
def test_rejects_a_field_of_another_type(field: str, value: Any) -> None:
    """The error names endpoint, field and value."""
    with pytest.raises(UnexpectedValue) as caught:
        read(row(), row(**{field: value}))
    message = str(caught.value)
    assert message.startswith(f"vendor /usage: field {field} holds ")
    assert ("nothing" if value is None else repr(value)) in message


def test_rejects_an_item_that_is_not_an_object() -> None:
    """Only a list of objects is a page of rows."""
    with pytest.raises(UnexpectedValue, match="not an object"):
        read("image")


def test_an_undeclared_field_becomes_a_text_column() -> None:
    """It is kept as text, whatever its type in each row."""
    table = TABLE.rows([row(region="eu"), row(region=7), row(region={"b": 1, "a": Decimal("0.1")}), row()], timespan="hour")
    assert table.column_names == ["timespan", "bucket_start", "kind", "count", "region"]
    assert table.column("region").to_pylist() == ["eu", "7", '{"a": "0.1", "b": 1}', None]


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.text("aB_-é ", max_size=5), max_size=6))
@example({"größe", "grüße"})
@example({"timespan"})
@example({"a__b", "a_b", "aB", "A b", "é", "è", "", "_"})
def test_added_fields_have_different_columns_in_dlt(names: set[str]) -> None:
    """dlt spells every character outside of ASCII alike, and two fields in one column would fail the table."""
    rows = TABLE.rows([{"from_date": "2026-03-01T00:00:00Z", "count": 1, **dict.fromkeys(names, "x")}], timespan="hour")
    spelled = {NamingConvention().normalize_identifier(name) for name in rows.column_names}
    # The column `timespan` is the request's; a field of that name gets another column.
    assert len(spelled) == rows.num_columns == 1 + len({"kind", "from_date", "count"} | names)


def test_an_empty_page_has_the_declared_types() -> None:
    """Its columns are typed although it has no rows."""
    assert TABLE.rows([], timespan="hour").schema.types == [pa.string(), pa.timestamp("us", "UTC"), pa.string(), pa.int64()]


def test_row_versions_depend_on_values_only() -> None:
    """Equal content has equal versions; null differs from an empty text, and values do not run into each other."""
    table = pa.table({"a": ["x", "x", "x", None, ""], "b": ["yz", "yz", "y", "yz", "yz"], "n": [1, 2, 1, 1, 1]})
    versions = row_versions(table, ["a", "b", "n"]).to_pylist()
    assert len(set(versions)) == 5
    assert row_versions(table.slice(2, 1), ["a", "b", "n"]).to_pylist() == versions[2:3]


def test_finds_a_duplicate_key() -> None:
    """It returns the key that two rows share."""
    table = TABLE.rows([row(), row(kind="pdf"), row(count=3)], timespan="hour")
    assert first_duplicate(table, ["kind"]) == {"kind": "image"}
    assert first_duplicate(table.slice(0, 2), ["kind"]) is None


EVERYTHING = Table(
    "vendor",
    "/usage",
    "everything",
    (
        day("date", "day"),
        decimal("credits", "credits", nullable=True),
        decimal("share", "share"),
        text("label", "label"),
        flag("ok", "ok"),
        document("extra", "extra"),
    ),
    ("date",),
    "date",
)


def test_parses_decimals_dates_and_documents() -> None:
    """Decimals are exact to nine digits, null stays null, nested values become JSON text."""
    first, second = EVERYTHING.rows(
        [
            {
                "date": "2026-01-31",
                "credits": Decimal("0.30000000000000004"),
                "share": 1,
                "ok": True,
                "extra": {"b": 1, "a": []},
            },
            {"date": "2026-02-01", "credits": None, "share": "0.25", "label": "x"},
        ]
    ).to_pylist()
    assert first == {
        "date": date(2026, 1, 31),
        "credits": Decimal("0.300000000"),
        "share": Decimal(1),
        "label": None,
        "ok": True,
        "extra": '{"a": [], "b": 1}',
    }
    assert (second["credits"], second["share"], second["label"], second["ok"]) == (None, Decimal("0.25"), "x", None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("share", None),
        ("share", True),
        ("share", "a lot"),
        ("share", Decimal("1e20")),
        ("credits", "NaN"),
        ("date", "2026-01-31T10:00:00"),
        ("date", 20260131),
        ("label", 7),
        ("ok", "yes"),
    ],
)
def test_rejects_values_that_a_type_cannot_hold(field: str, value: Any) -> None:
    """Each type rejects what it cannot hold exactly."""
    with pytest.raises(UnexpectedValue, match=f"field {field} holds"):
        EVERYTHING.rows([{"date": "2026-01-31", "share": 1} | {field: value}])


KINDS = (
    dimension("a", "a"),
    count("a", "a"),
    count("a", "a", nullable=True),
    decimal("a", "a"),
    decimal("a", "a", nullable=True),
    instant("a", "a"),
    instant("a", "a", nullable=True),
    day("a", "a"),
    text("a", "a"),
    flag("a", "a"),
)
NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.decimals(-(10**19), 10**19, places=9),
    st.booleans(),
)
TIMES = st.one_of(
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))])).map(datetime.isoformat),
    st.dates().map(date.isoformat),
    st.sampled_from(
        ["2026-03-10T10:00Z", "2026-03-10T10:00:00.123Z", "2026-03-10 10:00:00", "2026-W11-2", "20260310", "10000-01-01", ""]
    ),
    st.text("0123456789-:TZ+. ", max_size=30),
)


@pytest.mark.parametrize("column", KINDS, ids=lambda column: f"{column.type}{' or null' if column.nullable else ''}")
@given(values=st.one_of(st.lists(NUMBERS), st.lists(TIMES), st.lists(NUMBERS | TIMES | st.text(max_size=3) | st.none())))
def test_vectorized_parsing_equals_parsing_one_by_one(column: Column, values: list[Any]) -> None:
    """Arrow returns the same values as `parse`, or leaves them all to it."""
    together = parse_vectorized(column, values)
    try:
        one_by_one = pa.array([column.parse(value) for value in values], column.type)
    except (ValueError, TypeError, ArithmeticError, pa.ArrowException):
        assert together is None
    else:
        assert together is None or together.equals(one_by_one)
