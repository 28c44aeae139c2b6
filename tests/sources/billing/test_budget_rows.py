"""The checks of the budgets, and how they are loaded."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from meterhouse.pipelines.transform.dimensions import known_dimensions
from meterhouse.sources.billing import InvalidBillingFiles, billing_source

HEADER = "scope,provider,account,dimension,value,team,cost_centre,amount,currency,cost_type,thresholds,valid_from,valid_to\n"
ACCOUNTS = {"mathpix": ["default", "europe"], "reducto": ["default"]}
OWNERS = """provider,account,dimension,value,team,cost_centre,tags,share,valid_from,valid_to
mathpix,,app_id,a,search,4711,,,2026-01-01,
mathpix,,app_id,b,documents,4713,,,2026-01-01,
"""
APRIL = "10,USD,,,2026-04-01,"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, with a file of owners."""
    monkeypatch.chdir(tmp_path)
    Path("owners.csv").write_text(OWNERS)


def errors_of(*lines: str, owners: str | None = "owners.csv") -> list[tuple[int | None, str, str]]:
    """The row, column and reason of each error in a budgets file with these lines."""
    Path("budgets.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    try:
        billing_source(budgets="budgets.csv", owners=owners, known_accounts=ACCOUNTS, known_dimensions=known_dimensions())
    except InvalidBillingFiles as invalid:
        return [(error.row, error.column, error.reason) for error in invalid.errors if error.table == "budgets"]
    return []


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (f"providers,mathpix,,,,,,{APRIL}", "scope", "'providers' is not one of total, provider, account, owner, dimension; did you mean 'provider'?"),  # noqa: E501
        (f"provider,mathpics,,,,,,{APRIL}", "provider", "did you mean 'mathpix'?"),
        (f"provider,,,,,,,{APRIL}", "provider", "is blank; a budget with the scope provider needs provider"),
        (f"account,mathpix,europa,,,,,{APRIL}", "account", "mathpix has no account 'europa'; did you mean 'europe'?"),
        (f"account,mathpix,,,,,,{APRIL}", "account", "is blank; a budget with the scope account needs provider and account"),
        (f"total,mathpix,,,,,,{APRIL}", "provider", "a budget with the scope total has no provider; leave it blank"),
        (f"provider,mathpix,europe,,,,,{APRIL}", "account", "a budget with the scope provider has no account"),
        (f"owner,,,,,serch,,{APRIL}", "team", "the table owners has no team 'serch'; did you mean 'search'?"),
        (f"owner,,,,,,4712,{APRIL}", "cost_centre", "no cost centre '4712'; did you mean '471"),
        (f"owner,,,,,search,4713,{APRIL}", "cost_centre", "no team 'search' with cost centre '4713'; did you mean '4711'?"),
        (f"owner,,,,,,,{APRIL}", "team", "is blank; a budget with the scope owner needs a team or a cost_centre"),
        (f"dimension,mathpix,,app,a,,,{APRIL}", "dimension", "mathpix has no dimension 'app'; did you mean 'app_id'?"),
        (f"dimension,mathpix,,app_id,,,,{APRIL}", "value", "is blank; a budget with the scope dimension needs provider and"),
        (f"dimension,mathpix,,app_id,a*b,,,{APRIL}", "value", "'a*b' has a * that is not at its end"),
        ("total,,,,,,,10,USD,net,,2026-04-01,", "cost_type", "'net' is not one of billed, effective"),
        ("total,,,,,,,10.001,USD,,,2026-04-01,", "amount", "10.001 has too many decimal places; USD has 2"),
        ("total,,,,,,,10.5,JPY,,,2026-04-01,", "amount", "10.5 has too many decimal places; JPY has none"),
        ("total,,,,,,,7.000,EUR,,,2026-04-01,", "amount", "7.000 has too many decimal places; EUR has 2"),
        ("total,,,,,,,0,USD,,,2026-04-01,", "amount", "is 0; a budget must be above 0"),
        ("total,,,,,,,-1,USD,,,2026-04-01,", "amount", "'-1' is negative"),
        ("total,,,,,,,10,DOLLAR,,,2026-04-01,", "currency", "'DOLLAR' is not an ISO 4217 currency code"),
        ("total,,,,,,,10,USD,,50%,2026-04-01,", "thresholds", "'50%' is not a list of whole percentages from 1 to 1000"),
        ("total,,,,,,,10,USD,,0;50,2026-04-01,", "thresholds", "write it like 50;80, or none"),
        ("total,,,,,,,10,USD,,,2026-04-02,", "valid_from", "2026-04-02 is not the first day of a month; write 2026-04-01"),
        ("total,,,,,,,10,USD,,,2026-04-01,2026-04-30", "valid_to", "is not the first day of a month; write 2026-05-01"),
        ("total,,,,,,,10,USD,,,2026-04-01,2026-04-01", "valid_to", "2026-04-01 is not after valid_from 2026-04-01"),
        ("total,,,,,,,10,USD,,,2206-04-01,", "valid_from", "2206-04-01 is not between 2000-01-01 and 2099-12-31"),
    ],
)  # fmt: skip
def test_an_invalid_cell_is_an_error_of_its_column(line: str, column: str, reason: str) -> None:
    """`check` and a run name the line, the column, and the nearest known name."""
    ((row, found, message),) = errors_of(line)
    assert (row, found) == (2, column)
    assert reason in message


def test_an_owner_must_be_in_owners() -> None:
    """Without that table, only `unowned` can have a budget; if it cannot be read, its own error is enough."""
    team = f"owner,,,,,search,,{APRIL}"
    assert errors_of(team, f"owner,,,,,unowned,,{APRIL}", f"owner,,,,,,4713,{APRIL}") == []
    assert errors_of(team, f"owner,,,,,unowned,,{APRIL}", owners=None) == [
        (2, "team", "the table owners has no team 'search'; known: 'unowned'")
    ]
    assert errors_of(team, owners="missing.csv") == []


@pytest.mark.parametrize(
    ("lines", "column", "reason"),
    [
        ([f"total,,,,,,,{APRIL}", "total,,,,,,,20,USD,,,2026-05-01,"], "valid_from", "2026-05-01 overlaps row 2, which is valid from 2026-04-01 on"),  # noqa: E501
        (["total,,,,,,,10,USD,billed,,2026-04-01,2026-06-01", "total,,,,,,,10,USD,,,2026-05-01,"], "valid_from", "overlaps row 2"),  # noqa: E501
        ([f"dimension,mathpix,,app_id,a*,,,{APRIL}", f"dimension,mathpix,,app_id,a*,,,{APRIL}"], "", "valid_from as row 2"),
    ],
)  # fmt: skip
def test_two_rows_for_the_same_month_of_a_scope_are_an_error_that_names_both(
    lines: list[str], column: str, reason: str
) -> None:
    """Neither takes precedence unnoticed."""
    ((row, found, message),) = errors_of(*lines)
    assert (row, found) == (3, column)
    assert reason in message


@pytest.mark.parametrize(
    "lines",
    [
        ["total,,,,,,,10,USD,,,2026-04-01,2026-05-01", "total,,,,,,,20,USD,,,2026-05-01,"],
        [f"total,,,,,,,{APRIL}", "total,,,,,,,10,EUR,,,2026-04-01,", "total,,,,,,,10,USD,effective,,2026-04-01,"],
        [f"provider,mathpix,,,,,,{APRIL}", f"account,mathpix,default,,,,,{APRIL}", f"account,mathpix,europe,,,,,{APRIL}"],
        [f"dimension,mathpix,,app_id,a,,,{APRIL}", f"dimension,mathpix,default,app_id,a,,,{APRIL}"],
    ],
)
def test_rows_for_other_months_scopes_and_currencies_are_no_error(lines: Sequence[str]) -> None:
    """A budget may lie within another one, such as that of an account within that of its provider."""
    assert errors_of(*lines) == []


def test_budgets_are_loaded_in_one_form() -> None:
    """Blank cells of scopes are empty texts, the default cost is the billed one, and thresholds are in order."""
    Path("budgets.csv").write_text(HEADER + "total,,,,,,,10.50,USD,,100; 80;80,2026-04-01,\n")
    (loaded,) = billing_source(budgets="budgets.csv").resources["budgets"]
    row = loaded.to_pylist()[0]
    assert (row["provider"], row["amount"], row["cost_type"]) == ("", Decimal("10.5"), "billed")
    assert (row["thresholds"], row["forecast_thresholds"], row["row_number"]) == ("80;100", None, 2)
