"""The raw tables of Mathpix: one for each grouping, with the same columns."""

import pyarrow as pa

from meterhouse.sources._core.schema import TIMESTAMP, Column, Table, computed, count, dimension, instant

from .constants import ENDPOINT

COLUMNS: tuple[Column, ...] = (
    computed("timespan", pa.string(), "length of the bucket: hour, day, week or month"),
    instant("bucket_start", "start of the bucket, included", field="from_date"),
    computed("bucket_end", TIMESTAMP, "end of the bucket, excluded; the API does not return it"),
    dimension("app_id", "application, if the response has it"),
    dimension("group_id", "group of the application, if the response has it"),
    dimension("usage_type", "service kind, for example image, image-async, pdf-page, strokes-session"),
    dimension("request_args_hash", "hash of the request arguments: distinguishes configurations, not documents"),
    count("count", "the amount, in the unit of the usage type"),
)

KEY = ("timespan", "bucket_start", "app_id", "group_id", "usage_type", "request_args_hash")


def ocr_usage_by(*dimensions: str) -> Table:
    """The table of one grouping, by one or several dimensions."""
    name = f"ocr_usage_by_{'_and_'.join(dimensions)}"
    return Table("mathpix", ENDPOINT, name, COLUMNS, KEY, "bucket_start", identity=("app_id",), owner="group_id")
