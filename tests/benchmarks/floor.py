"""The floor: the same workload without guarantees. httpx, then DuckDB reads the pages; no retries, no state."""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import httpx

from tests.benchmarks.workloads import MATHPIX, PAGE, REDUCTO, WORKLOADS, Workload

COUNTS = (
    "struct(from_date timestamptz, app_id text, group_id text, usage_type text, request_args_hash text, count bigint)[]",
    "ocr_usage",
)
EXPORT = ('struct(date date, "group" text, credits decimal(28,9), "requestCount" bigint)[]', "data")
EVENTS = (
    "struct(id text, timestamp timestamptz, operation_type text, endpoint text, method text, status_code bigint, "
    "response_time_ms decimal(28,9), error_code text, api_key_id text)[]",
    "events",
)


def store(client: httpx.Client, pages: Iterator[Any], folder: Path) -> list[str]:
    """Writes the responses to files."""
    files = []
    for number, page in enumerate(pages):
        file = folder / f"{number}.json"
        file.write_bytes(page)
        files.append(str(file))
    return files


def load(database: Any, schema: str, table: str, files: list[str], form: tuple[str, str]) -> None:
    """Loads files into a table."""
    kind, name = form
    database.execute(f"create schema if not exists {schema}")
    database.execute(
        f"create table {schema}.{table} as select unnest({name}, recursive := true)"
        f" from read_json(?, columns = {{'{name}': '{kind}'}}, format = 'unstructured', maximum_object_size = 16777216)",
        [files],
    )


def mathpix(workload: Workload, scale: float, client: httpx.Client, grouping: str) -> Iterator[bytes]:
    """The pages of one grouping."""
    for start, end in workload.windows(scale):
        for page in count(1):
            asked: dict[str, Any] = {
                "from_date": f"{start:%Y-%m-%dT%H:%M:%S}.000Z",
                "to_date": f"{end:%Y-%m-%dT%H:%M:%S}.000Z",
                "group_by": grouping.split("_and_"),
                "timespan": "hour",
                "page": page,
                "per_page": PAGE,
            }
            answer = client.get("/v3/ocr-usage", params=asked).content
            yield answer
            if answer.count(b"from_date") < PAGE:
                break


def scopix(workload: Workload, scale: float, client: httpx.Client, limit: int) -> Iterator[bytes]:
    """The pages of events."""
    end = workload.start + timedelta(days=workload.days(scale)) - timedelta(microseconds=1)
    for page in count():
        asked: dict[str, Any] = {
            "start_date": f"{workload.start:%Y-%m-%dT%H:%M:%SZ}",
            "end_date": f"{end:%Y-%m-%dT%H:%M:%S.%fZ}",
            "limit": limit,
            "offset": page * limit,
        }
        answer = client.get("/usage/details", params=asked).content
        yield answer
        if answer.count(b'"timestamp"') < limit:
            break


def reducto(workload: Workload, client: httpx.Client, grouping: str, organisations: Sequence[str]) -> Iterator[bytes]:
    """The response for each organisation."""
    day = workload.start.date().isoformat()
    for organisation in organisations:
        asked = {"startDate": day, "endDate": day, "groupBy": grouping, "orgId": organisation}
        yield client.get("/api/v1/usage/export", params=asked).content


def main() -> None:
    """`floor WORKLOAD SCALE SETTINGS DATABASE`."""
    workload, scale, settings = WORKLOADS[sys.argv[1]], float(sys.argv[2]), json.loads(sys.argv[3])
    folder = Path(sys.argv[4]).parent / "pages"
    with duckdb.connect(sys.argv[4]) as database:
        for provider in (name.partition(".")[0] for name in workload.of):
            own = settings[provider]["accounts"]["default"]
            key = {name: own[name] for name in ("app_id", "app_key") if name in own}
            headers = key or {"authorization": f"Bearer {own['api_key']}"}
            with httpx.Client(base_url=own["base_url"], headers=headers, trust_env=False) as client:
                sets: dict[str, tuple[Iterator[bytes], tuple[str, str]]] = {}
                if provider == "mathpix":
                    sets = {f"ocr_usage_by_{name}": (mathpix(workload, scale, client, name), COUNTS) for name in MATHPIX}
                elif provider == "reducto":
                    sets = {
                        f"usage_by_{name}": (reducto(workload, client, name, own["org_ids"]), EXPORT) for name in REDUCTO
                    }
                else:
                    sets = {"usage_events": (scopix(workload, scale, client, PAGE if workload.events else 100), EVENTS)}
                for table, (pages, form) in sets.items():
                    (folder / table).mkdir(parents=True)
                    load(database, provider, table, store(client, pages, folder / table), form)


if __name__ == "__main__":
    main()
