"""The customer's agreement with Scopix, made up: a plan with credits, and a price for each further credit."""

from collections.abc import Sequence

from meterhouse.pipelines.sandbox.billing_files import (
    BillingRows,
    Month,
    credit_price,
    included_credits,
    monthly_fee,
)


def billing_rows(months: Sequence[Month]) -> BillingRows:
    """The price from the first month on; the plan from the last month on.

    By default, a run loads two months of Scopix, and the plan begins with the first whole month of those.
    """
    start = months[-1][0]
    return {
        "credit_prices": [credit_price("scopix", "0.02", months[0][0])],
        "credit_grants": [included_credits("scopix", "team-plan", 5_000, start)],
        "fees": [monthly_fee("scopix", "team", "Team plan", 49, start)],
    }
