"""The customer's agreement with Reducto, made up: a price for each credit, and a pack of credits bought in advance."""

from collections.abc import Sequence

from meterhouse.pipelines.sandbox.billing_files import BillingRows, Month, billing_row, credit_price


def billing_rows(months: Sequence[Month]) -> BillingRows:
    """The price from the first month on; the pack from the fifth to last month on, for a year."""
    bought = months[-5:][0][0]
    pack = billing_row("reducto", grant_id="pack", kind="purchased", unit="credit", amount=1_000_000, starts_on=bought)
    pack |= {"expires_on": bought.replace(year=bought.year + 1), "cost": 11_000, "currency": "USD"}
    return {"credit_prices": [credit_price("reducto", "0.014", months[0][0])], "credit_grants": [pack]}
