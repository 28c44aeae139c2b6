"""The options of `meterhouse export focus`, in a module of their own, so that the command line starts without Arrow."""

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
