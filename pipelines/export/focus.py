"""The options of `meterhouse export focus`, in a module of their own, so that the command line starts without Arrow."""

from collections.abc import Mapping
from enum import StrEnum


class Version(StrEnum):
    """A version of FOCUS."""

    V1_2 = "1.2"
    V1_4 = "1.4"


class Format(StrEnum):
    """A file format."""

    PARQUET = "parquet"
    CSV = "csv"


class Dataset(StrEnum):
    """A dataset of FOCUS."""

    COST_AND_USAGE = "cost-and-usage"
    BILLING_PERIOD = "billing-period"
    INVOICE_DETAIL = "invoice-detail"


_CLOUD_COLUMNS = (
    *("AvailabilityZone", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType"),
    *("BillingAccountType", "SubAccountType"),
    *("CapacityReservationId", "CapacityReservationStatus"),
    *("CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity"),
    *("CommitmentDiscountType", "CommitmentDiscountUnit"),
)
UNUSED_COLUMNS: Mapping[tuple[Version, Dataset], tuple[str, ...]] = {
    (Version.V1_2, Dataset.COST_AND_USAGE): _CLOUD_COLUMNS,
    (Version.V1_4, Dataset.COST_AND_USAGE): (
        *_CLOUD_COLUMNS,
        *("AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags"),
        *("CommitmentDiscountStatus", "CommitmentProgramEligibilityDetails", "ContractApplied"),
    ),
    (Version.V1_4, Dataset.BILLING_PERIOD): (),
    (Version.V1_4, Dataset.INVOICE_DETAIL): (
        *("PaymentCurrency", "PaymentCurrencyBilledCost", "PaymentCurrencyInvoiceDetailId", "PurchaseOrderNumber"),
    ),
}
"""The columns of each dataset that the marts leave out. FOCUS requires them only if a vendor has such values."""
