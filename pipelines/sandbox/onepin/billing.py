"""The customer's agreement with Onepin, made up: a plan with credits, and a price for each further credit."""

from collections.abc import Sequence

from meterhouse.pipelines.sandbox.billing_files import (
    BillingRows,
    Month,
    credit_price,
    included_credits,
    monthly_fee,
)


def billing_rows(months: Sequence[Month]) -> BillingRows:
    """The price from the first month on; the plan from the second to last month on.

    The API returns the last 90 days, and the plan begins with the first whole month of those.
    """
    start = months[-2:][0][0]
    return {
        "credit_prices": [credit_price("onepin", "0.006", months[0][0])],
        "credit_grants": [included_credits("onepin", "studio-plan", 25_000, start)],
        "fees": [monthly_fee("onepin", "studio", "Studio plan", 99, start)],
    }
