"""The checks of the exchange rates and the business metrics, and how they are loaded."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterhouse.sources._core.errors import ConfigurationError
from meterhouse.sources.billing import InvalidBillingFiles, billing_source

RATES = "currency,date,rate,source\n"
METRICS = "metric,date,scope,provider,account,team,cost_centre,value\n"
ACCOUNTS = {"mathpix": ["default", "europe"], "reducto": ["default"]}
OWNERS = """provider,account,dimension,value,team,cost_centre,valid_from,valid_to
mathpix,,app_id,a,search,4711,2026-01-01,
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, with a file of owners."""
    monkeypatch.chdir(tmp_path)
    Path("owners.csv").write_text(OWNERS)


def errors_of(table: str, header: str, *lines: str, **settings: Any) -> list[str]:
    """The errors in a file with these lines, as `check` prints them."""
    Path(f"{table}.csv").write_text(header + "".join(f"{line}\n" for line in lines))
    try:
        billing_source(**settings | {table: f"{table}.csv"}, known_accounts=ACCOUNTS)
    except InvalidBillingFiles as invalid:
        return [str(error) for error in invalid.errors]
    return []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("USDD,2026-04-01,0.9,ECB", "row 2, currency: 'USDD' is not an ISO 4217 currency code; write it like USD or EUR"),
        ("USD,1.4.2026,0.9,ECB", "row 2, date: '1.4.2026' is not a date; write it like 2026-01-31"),
        ("USD,2026-04-01,0,ECB", "row 2, rate: '0' is not above 0"),
        ("USD,2026-04-01,-0.9,ECB", "row 2, rate: '-0.9' is not above 0"),
        ("USD,2026-04-01,,ECB", "row 2, rate: is blank"),
        ("USD,2026-04-01,0.8500000000000001,", "row 2, rate: '0.8500000000000001' has more than 12 decimal places"),
        ("USD,2026-04-01,8.5e-1,", "row 2, rate: '8.5e-1' is not a number; write it like 1234.56"),
        ('USD,2026-04-01,"0,85",', "row 2, rate: '0,85' is not a number; write it like 1234.56"),
        ("EUR,2026-04-01,1.1,", "row 2, rate: 1.1 is not 1, the only rate of the reporting currency EUR; delete the row, or correct the currency or reporting_currency"),  # noqa: E501
        ("USD,2026-04-01,0.9,ECB\nUSD,2026-04-01,0.91,ECB", "row 3: has the same currency, date as row 2"),
    ],
)  # fmt: skip
def test_a_wrong_rate_is_an_error_that_names_file_and_line(line: str, error: str) -> None:
    """No rate of the file is loaded."""
    assert errors_of("fx_rates", RATES, line, reporting_currency="EUR") == [f"fx_rates.csv {error}"]


def test_rates_are_loaded_with_their_reporting_currency() -> None:
    """With twelve decimals, and with the publisher as `rate_source`, because `source` is the file."""
    lines = ("IRR,2026-04-01,0.000000793651,", "USD,2026-04-01,0.85,ECB", "EUR,2026-04-01,1,ECB")
    assert errors_of("fx_rates", RATES, *lines, reporting_currency="EUR") == []
    (loaded,) = billing_source(fx_rates="fx_rates.csv", reporting_currency="EUR").resources["fx_rates"]
    columns = "currency", "rate", "rate_source", "reporting_currency", "source", "row_number"
    assert [tuple(row[name] for name in columns) for row in loaded.to_pylist()] == [
        ("IRR", Decimal("0.000000793651"), None, "EUR", "fx_rates.csv", 2),
        ("USD", Decimal("0.85"), "ECB", "EUR", "fx_rates.csv", 3),
        ("EUR", Decimal(1), "ECB", "EUR", "fx_rates.csv", 4),
    ]
    assert errors_of("fx_rates", "currency,date,rate\n", "USD,2026-04-01,0.85") == []


def test_the_rates_of_another_reporting_currency_are_refused() -> None:
    """The file does not say what it converts into. After a change of the setting, a loaded rate must change, too."""
    loaded = {("USD", date(2026, 4, day)): (Decimal("0.850"), "EUR") for day in (1, 2)}
    settings = {"reporting_currency": "GBP", "loaded_rates": loaded}
    reason = "row 2, rate: the rates are still those into EUR; write the rates into GBP"
    assert errors_of("fx_rates", RATES, "USD,2026-04-01,0.85,", **settings) == [f"fx_rates.csv {reason}"]
    appended = ("USD,2026-04-01,0.85,", "USD,2026-05-01,0.75,")
    assert errors_of("fx_rates", RATES, *appended, **settings) == [f"fx_rates.csv {reason}"]
    assert errors_of("fx_rates", RATES, "USD,2026-04-01,0.85,", "USD,2026-04-02,0.75,", **settings) == []
    assert errors_of("fx_rates", RATES, "USD,2026-04-01,0.85,", **settings | {"reporting_currency": "EUR"}) == []
    assert errors_of("fx_rates", RATES, **settings) == []


@pytest.mark.parametrize("setting", ["EURO", "eur", "hunter2"])
def test_the_reporting_currency_is_a_currency(setting: str) -> None:
    """The error does not show the value, which may be a misplaced key."""
    with pytest.raises(ConfigurationError, match="reporting_currency is not an ISO 4217 currency code") as error:
        billing_source(reporting_currency=setting)
    assert setting not in str(error.value)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("pages,2026-04-01,dimension,mathpix,,,,5", "scope: 'dimension' is not one of total, provider, account, owner"),
        ("pages,2026-04-01,provider,,,,,5", "provider: is blank; a metric with the scope provider needs provider"),
        ("pages,2026-04-01,total,mathpix,,,,5", "provider: a metric with the scope total has no provider; leave it blank, or correct the scope"),  # noqa: E501
        ("pages,2026-04-01,account,mathpix,europa,,,5", "account: mathpix has no account 'europa'; did you mean 'europe'?"),
        ("pages,2026-04-01,owner,,,serch,,5", "team: the table owners has no team 'serch'; did you mean 'search'?"),
        ("pages,2026-04-01,owner,,,,,5", "team: is blank; a metric with the scope owner needs a team or a cost_centre, or both"),  # noqa: E501
        ("pages,2026-04-01,total,,,,,-5", "value: '-5' is negative"),
        (",2026-04-01,total,,,,,5", "metric: is blank"),
    ],
)  # fmt: skip
def test_a_wrong_metric_is_an_error_that_names_file_and_line(line: str, error: str) -> None:
    """Scopes are checked as those of budgets."""
    assert errors_of("business_metrics", METRICS, line, owners="owners.csv") == [f"business_metrics.csv row 2, {error}"]


def test_a_metric_has_one_value_per_date_and_scope() -> None:
    """Values of other dates, scopes and metrics are other rows."""
    row = "pages,2026-04-01,total,,,,,5"
    others = ("pages,2026-04-02,total,,,,,5", "pages,2026-04-01,provider,mathpix,,,,5", "users,2026-04-01,total,,,,,5")
    assert errors_of("business_metrics", METRICS, row, *others) == []
    (error,) = errors_of("business_metrics", METRICS, row, *others, row)
    assert error.startswith("business_metrics.csv row 6: has the same metric, date, scope")
