"""dlt's own `rest_api`, as its documentation shows it: the same requests, appended to tables whose types it infers."""

import json
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source

from tests.benchmarks.workloads import MATHPIX, PAGE, REDUCTO, WORKLOADS, Workload


def resource(name: str, table: str, path: str, params: dict[str, Any], selector: str, paginator: Any) -> dict[str, Any]:
    """One endpoint."""
    endpoint = {"path": path, "params": params, "data_selector": selector, "paginator": paginator}
    return {"name": name, "table_name": table, "write_disposition": "append", "endpoint": endpoint}


def resources(provider: str, workload: Workload, scale: float, organisations: Sequence[str]) -> list[dict[str, Any]]:
    """The resources of a provider."""
    if provider == "mathpix":
        paging = {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": None}
        return [
            resource(
                f"{grouping}_{number}",
                f"ocr_usage_by_{grouping}",
                "v3/ocr-usage",
                {
                    "from_date": f"{start:%Y-%m-%dT%H:%M:%S}.000Z",
                    "to_date": f"{end:%Y-%m-%dT%H:%M:%S}.000Z",
                    "group_by": grouping.split("_and_"),
                    "timespan": "hour",
                    "per_page": PAGE,
                },
                "ocr_usage",
                paging,
            )
            for grouping in MATHPIX
            for number, (start, end) in enumerate(workload.windows(scale))
        ]
    if provider == "reducto":
        day = workload.start.date().isoformat()
        return [
            resource(
                f"{grouping}_of_{organisation}",
                f"usage_by_{grouping}",
                "api/v1/usage/export",
                {"startDate": day, "endDate": day, "groupBy": grouping, "orgId": organisation},
                "data",
                "single_page",
            )
            for grouping in REDUCTO
            for organisation in organisations
        ]
    end = workload.start + timedelta(days=workload.days(scale)) - timedelta(microseconds=1)
    paging = {"type": "offset", "limit": PAGE if workload.events else 100, "total_path": "total_count"}
    asked = {"start_date": f"{workload.start:%Y-%m-%dT%H:%M:%SZ}", "end_date": f"{end:%Y-%m-%dT%H:%M:%S.%fZ}"}
    return [resource("usage_events", "usage_events", "usage/details", asked, "events", paging)]


def main() -> None:
    """`rest_api WORKLOAD SCALE SETTINGS DATABASE [FORMAT]`."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    workload, scale, settings = WORKLOADS[sys.argv[1]], float(sys.argv[2]), json.loads(sys.argv[3])
    sources = []
    for provider in (name.partition(".")[0] for name in workload.of):
        own = settings[provider]["accounts"]["default"]
        client: dict[str, Any] = {"base_url": own["base_url"]}
        if "app_id" in own:
            client["headers"] = {"app_id": own["app_id"], "app_key": own["app_key"]}
        else:
            client["auth"] = {"type": "bearer", "token": own["api_key"]}
        config: Any = {"client": client, "resources": resources(provider, workload, scale, own.get("org_ids", ()))}
        sources.append(rest_api_source(config, name=provider))
    pipeline = dlt.pipeline("rest_api", destination=dlt.destinations.duckdb(sys.argv[4]), dataset_name="loaded")
    formats: Any = {"loader_file_format": sys.argv[5]} if len(sys.argv) > 5 else {}
    pipeline.run(sources, **formats)


if __name__ == "__main__":
    main()
