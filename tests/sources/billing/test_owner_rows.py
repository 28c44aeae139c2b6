"""The checks of the owners, and how they are loaded."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from meterhouse.pipelines.transform.dimensions import known_dimensions
from meterhouse.sources.billing import InvalidBillingFiles, billing_source

HEADER = "provider,account,dimension,value,team,cost_centre,tags,share,valid_from,valid_to\n"
ACCOUNTS = {"mathpix": ["default", "europe"], "reducto": ["default"]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, empty."""
    monkeypatch.chdir(tmp_path)


def errors_of(*lines: str) -> list[tuple[int | None, str, str]]:
    """The row, column and reason of each error in an owners file with these lines."""
    Path("owners.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    try:
        billing_source(owners="owners.csv", known_accounts=ACCOUNTS, known_dimensions=known_dimensions())
    except InvalidBillingFiles as invalid:
        return [(error.row, error.column, error.reason) for error in invalid.errors]
    return []


@pytest.mark.parametrize(
    ("lines", "column", "reason"),
    [
        (["mathpics,,,,a,,,,2026-01-01,"], "provider", "'mathpics' is not one of mathpix, reducto"),
        (["mathpix,defualt,,,a,,,,2026-01-01,"], "account", "mathpix has no account 'defualt'; did you mean 'default'?"),
        ([",defualt,,,a,,,,2026-01-01,"], "account", "no provider has the account 'defualt'"),
        (["mathpix,,app,x,a,,,,2026-01-01,"], "dimension", "mathpix has no dimension 'app'; did you mean 'app_id'?"),
        (["reducto,,app_id,x,a,,,,2026-01-01,"], "dimension", "reducto has no dimension 'app_id'"),
        (["mathpix,,app_id,,a,,,,2026-01-01,"], "value", "is blank; write a value of the dimension, or *"),
        (["mathpix,,,x,a,,,,2026-01-01,"], "dimension", "is blank; name the dimension of the value"),
        (["mathpix,,app_id,x*y,a,,,,2026-01-01,"], "value", "'x*y' has a * that is not at its end"),
        (["mathpix,,app_id,(unattributed),a,,,,2026-01-01,"], "value", "no value of a vendor; leave dimension"),
        (["mathpix,,,,,,,,2026-01-01,"], "team", "is blank"),
        (["mathpix,,,,unowned,,,,2026-01-01,"], "team", "unowned is the name of cost without an owner"),
        (["mathpix,,,,a\\b,,,,2026-01-01,"], "team", "contains a quotation mark, a backslash"),
        (["mathpix,,,,a,,prod,,2026-01-01,"], "tags", "'prod' is not a tag; write tags like env=prod;product=search"),
        (["mathpix,,,,a,,;,,2026-01-01,"], "tags", "';' has no tag"),
        (["mathpix,,,,a,,env=a; env=b,,2026-01-01,"], "tags", "the tag 'env' appears twice"),
        (["mathpix,,,,a,,team=b,,2026-01-01,"], "tags", "the tag 'team' is a column of its own"),
        (["mathpix,,,,a,,,half,2026-01-01,"], "share", "'half' is neither a number above 0 and up to 1, nor even"),
        (["mathpix,,,,a,,,1.5,2026-01-01,"], "share", "'1.5' is neither a number above 0 and up to 1"),
        (["mathpix,,app_id,x,a,,,0.5,2026-01-01,"], "share", "only a row without dimension and value has a share"),
        (["mathpix,,,,a,,,,2026-02-01,2026-01-01"], "valid_to", "2026-01-01 is not after valid_from 2026-02-01"),
        (["mathpix,,,,a,,,,01.02.2026,"], "valid_from", "'01.02.2026' is not a date"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_meant_is_an_error_of_its_column(lines: list[str], column: str, reason: str) -> None:
    """`check` and a run name the line, the column, and the nearest name of an account or a dimension."""
    ((row, found, message),) = errors_of(*lines)
    assert (row, found) == (2, column)
    assert reason in message


FIRST = "mathpix,default,app_id,one,a,,,,2026-01-01,2026-03-01"


@pytest.mark.parametrize(
    ("lines", "column", "reason"),
    [
        ([FIRST, "mathpix,default,app_id,one,b,,,,2026-02-28,"], "value", "maps the same value on the same day as row 2"),
        ([FIRST, "mathpix,default,app_id,o*,b,,,,2026-02-28,"], "value", "as row 2, 'one'"),
        (["mathpix,,app_id,*,b,,,,2026-01-01,", FIRST], "value", "as row 2, '*'"),
        (["mathpix,,app_id,on*,b,,,,2026-01-01,", ",,app_id,o*,a,,,,2026-01-01,"], "value", "as row 2, 'on*'"),
        ([FIRST, "mathpix,,app_id,one,b,,,,2026-01-01,"], "value", "as row 2"),
        ([FIRST, FIRST], "", "has the same provider, account, dimension, value, team, cost_centre, valid_from as row 2"),
        ([FIRST, "mathpix,,usage_type,x,b,,,,2026-02-01,"], "dimension", "row 2 divides the same account by app_id"),
        (["mathpix,,,,a,,,,2026-01-01,", "mathpix,,,,b,,,0.5,2026-02-01,"], "share", "row 2 takes all of it"),
        (["mathpix,,,,a,,,even,2026-01-01,", "mathpix,,,,b,,,0.5,2026-02-01,"], "share", "is a number, but even in row 2"),
        (["mathpix,,,,a,,,even,2026-01-01,", "mathpix,,,,a,,x=y,even,2026-02-01,"], "team", "row 2 has the same owner"),
        (
            ["mathpix,,,,a,,,0.6,2026-01-01,", "mathpix,,,,b,,,0.5,2026-02-01,"],
            "share",
            "the shares of rows 2, 3 are 1.1 together on 2026-02-01; at most 1",
        ),
    ],
)  # fmt: skip
def test_two_rows_for_the_same_cost_are_an_error_that_names_both(lines: list[str], column: str, reason: str) -> None:
    """No row takes precedence over another one that maps the same value, or the same rest, on the same day."""
    ((row, found, message),) = errors_of(*lines)
    assert (row, found) == (3, column)
    assert reason in message


@pytest.mark.parametrize(
    "lines",
    [
        [FIRST, "mathpix,default,app_id,one,b,,,,2026-03-01,"],
        [FIRST, "mathpix,europe,app_id,one,b,,,,2026-01-01,"],
        [FIRST, "mathpix,default,app_id,one-more,b,,,,2026-01-01,", "mathpix,default,app_id,on,b,,,,2026-01-01,"],
        [FIRST, "mathpix,europe,usage_type,x,b,,,,2026-01-01,", ",,api_key,x,b,,,,2026-01-01,"],
        [FIRST, "mathpix,default,usage_type,x,b,,,,2026-03-01,"],
        [FIRST, "mathpix,default,,,c,,,,2026-01-01,", "mathpix,,,,b,,,,2026-01-01,", ",,,,a,,,,2026-01-01,"],
        ["mathpix,,,,a,,,0.5,2026-01-01,2026-02-01", "mathpix,,,,b,,,0.5,2026-01-01,", "mathpix,,,,a,,,0.4,2026-02-01,"],
    ],
)
def test_rows_for_other_days_accounts_or_values_are_no_error(lines: Sequence[str]) -> None:
    """A value changes its owner on a day; a rest of an account takes precedence over that of a provider."""
    assert errors_of(*lines) == []


def test_tags_are_loaded_as_json_and_shares_in_one_form() -> None:
    """What the models read: blank cells of scopes are empty texts, tags are a JSON object."""
    Path("owners.csv").write_text(HEADER + "mathpix,,,,a,,env=prod; é=1;,0.50,2026-01-01,\n")
    (loaded,) = billing_source(owners="owners.csv").resources["owners"]
    row = loaded.to_pylist()[0]
    assert row["tags"] == '{"env": "prod", "é": "1"}'
    assert (row["share"], row["account"], row["cost_centre"], row["row_number"]) == ("0.5", "", "", 2)
