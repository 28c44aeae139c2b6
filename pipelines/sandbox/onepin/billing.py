"""The customer's agreement with Onepin, made up: a plan with credits, and a price for each further one."""

from collections.abc import Sequence

from meterhouse.pipelines.sandbox.billing_files import (
    BillingRows,
    Month,
    credit_price,
    included_credits,
    monthly_fee,
)


def billing_rows(months: Sequence[Month]) -> BillingRows:
    """The price since the first month; the plan since the second to last one.

    The API returns the last 90 days: the plan begins with the first whole month of those.
    """
    start = months[-2:][0][0]
    return {
        "credit_prices": [credit_price("onepin", "0.006", months[0][0])],
        "credit_grants": [included_credits("onepin", "studio-plan", 25_000, start)],
        "fees": [monthly_fee("onepin", "studio", "Studio plan", 99, start)],
    }
