"""The exported files, judged by others: the official validator for FOCUS 1.2, and a linter for the datasets of 1.4."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.focus import Exported
from tests.pipelines.transform.warehouse import required

VALIDATOR = os.environ.get("METERHOUSE_FOCUS_VALIDATOR")
"""The python of the validator's own environment, which .ci/focus-validator makes."""

APPLICABLE = (
    "ACCOUNT_NAMING_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED,UNIT_PRICING_SUPPORTED,"
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED,VIRTUAL_CURRENCY_SUPPORTED,SUB_ACCOUNT_SUPPORTED,"
    "NEGOTIATED_PRICING_SUPPORTED,TAGGING_SUPPORTED,MULTIPLE_PRICING_CATEGORIES_SUPPORTED"
)

# It looks for its table of currencies in the folder that it is run in, and ends with 0 whatever it found.
VALIDATE = """
import json, os, sys
import focus_validator
from focus_validator.validator import Validator
os.chdir(os.path.dirname(os.path.dirname(focus_validator.__file__)))
found = {}
for file in sys.argv[2:]:
    results = Validator(
        data_filename=file, output_destination=os.devnull, output_type="unittest", focus_dataset="CostAndUsage",
        rules_version="1.2.0.1", rules_block_remote_download=True, applicability_criteria=sys.argv[1],
    ).validate().by_rule_id
    found[file] = {
        "passed": sum(result["ok"] for result in results.values()),
        "failed": {
            rule: str(result.get("details", {}).get("message")) for rule, result in results.items() if not result["ok"]
        },
    }
print("found:" + json.dumps(found))
"""

WRONG_RULES = {
    # "Null when there is no invoice" and "not null when there is one" are two halves of one rule that the validator asks of
    # every row alike: a file with charges of both kinds fails both.
    "InvoiceId-C-004-C": "fails where a charge has an invoice",
    "InvoiceId-C-005-C": "fails where a charge has none",
    "InvoiceId-C-003-C": "made of these two",
    "InvoiceId-C-000-O": "made of that",
    # The specification lets a virtual currency be the pricing currency; the rule knows only those of ISO 4217.
    "PricingCurrency-C-003-M": "fails for the pricing currency Credit",
    "PricingCurrency-C-000-C": "made of that",
    # 0 is demanded of a purchase that covers later charges; the rule asks it of every purchase, of a setup fee too.
    "EffectiveCost-C-005-C": "fails for fees",
    "EffectiveCost-C-000-M": "made of that",
    "CostAndUsage-D-002-M": "made of all rules for columns",
}
"""The rules of focus-validator 2.2.1 that no right file can pass, and why."""


def validate(*files: Path) -> list[Any]:
    """For each file how many rules it passed, and the rules that it failed with what the validator says of them."""
    if VALIDATOR is None:
        pytest.skip("METERHOUSE_FOCUS_VALIDATOR is not set: .ci/focus-validator FOLDER installs what it has to name")
    command = [VALIDATOR, "-c", VALIDATE, APPLICABLE, *map(str, files)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.rpartition("found:")[2])
    return [found[str(file)] for file in files]


def test_the_official_validator_finds_nothing_but_its_own_faults(year: Exported, tmp_path: Path) -> None:
    """In a year of usage with every kind of charge; and it finds a fault where there is one."""
    header, *rows = year.file("1.2", "csv").read_text().splitlines()
    in_text, broken = tmp_path / "text.csv", tmp_path / "broken.csv"
    in_text.write_text("\n".join([header, *rows[-500:]]))
    broken.write_text(in_text.read_text().replace(",USD,", ",usd,", 1))

    whole, text, faulty = validate(year.file("1.2", "parquet"), in_text, broken)

    assert whole["failed"].keys() == WRONG_RULES.keys(), whole["failed"]
    assert whole["passed"] > 500
    assert text["failed"].keys() <= WRONG_RULES.keys(), text["failed"]
    assert any(rule.startswith("BillingCurrency-") for rule in faulty["failed"])


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    required("focus_data_toolkit")
    command = [sys.executable, "-m", "focus_data_toolkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_datasets_of_1_4_pass_the_linter(year: Exported, tmp_path: Path) -> None:
    """Each on its own, but for the virtual currency, which it rejects although the specification has it."""
    for dataset in ("cost-and-usage", "billing-period", "invoice-detail"):
        with year.file("1.4", "csv", dataset).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        file = tmp_path / f"{dataset}.csv"
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(row for row in rows if row.get("PricingCurrency") != "Credit")
        finished = lint("validate", "--dataset", dataset, str(file))
        assert finished.returncode == 0, finished.stdout + finished.stderr
    broken = tmp_path / "broken.csv"
    broken.write_text(file.read_text().replace("Issued", "issued"))
    assert lint("validate", "--dataset", "invoice-detail", str(broken)).returncode == 1


def test_the_datasets_of_1_4_belong_together(year: Exported) -> None:
    """Every charge's line, period and account is that of the other datasets."""
    datasets = ("cost-and-usage", "billing-period", "invoice-detail")
    finished = lint(
        "validate-bundle", *(part for name in datasets for part in (f"--{name}", str(year.file("1.4", "csv", name))))
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
