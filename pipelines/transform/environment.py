"""Which variables of dbt may be set in the environment of a build.

dbt reads almost every option from a variable, such as `DBT_EMPTY` or `DBT_ENGINE_EMPTY`. Some of them make a build succeed
with models or rows missing.
"""

import os

from meterhouse.sources._core.errors import ConfigurationError

REFUSED = frozenset(
    {
        # which nodes are built and tested
        "RESOURCE_TYPES",
        "INDIRECT_SELECTION",
        "FAIL_FAST",
        # which rows they have
        "EMPTY",
        "SAMPLE",
        "EVENT_TIME_START",
        "EVENT_TIME_END",
        "FULL_REFRESH",
        "INTROSPECT",
        # whose tables and whose project they are built from
        "DEFER",
        "DEFER_STATE",
        "DEFER_TO_STATE",
        "FAVOR_STATE",
        "FAVOR_STATE_MODE",
        "STATE",
        "ARTIFACT_STATE_PATH",
        "PARTIAL_PARSE_FILE_DIFF",
        "PARTIAL_PARSE_FILE_PATH",
        "PP_TEST",
        "PP_FILE_DIFF_TEST",
        "TEST_STATE_MODIFIED",
        "SINGLE_THREADED",  # opens a DuckDB file twice in one process, which fails
        "RECORDER_MODE",  # replays recorded answers of the database
        # which tests fail, and what they leave
        "WARN_ERROR",
        "WARN_ERROR_OPTIONS",
        "STORE_FAILURES",
    }
)
"""Options, by their variables without the prefix, that change what a build does."""

GIVEN = frozenset(
    {
        "EXCLUDE_RESOURCE_TYPES",
        "LOG_LEVEL",
        "LOG_LEVEL_FILE",
        "LOG_PATH",
        "PROFILE",
        "PROFILES_DIR",
        "PROJECT_DIR",
        "QUIET",
        "TARGET",
        "TARGET_PATH",
        "USE_COLORS",
        "VERSION_CHECK",
        "WRITE_JSON",
    }
)
"""Options that `build` gives on the command line, which wins over a variable."""

HARMLESS = frozenset(
    {
        "CACHE_SELECTED_ONLY",
        "CLEAN_PROJECT_FILES_ONLY",
        "DEBUG",
        "DOWNLOAD_DIR",
        "EXPORT_SAVED_QUERIES",
        "HOST",
        "INCLUDE_SAVED_QUERY",
        "INVOCATION_ENV",
        "LOG_CACHE_EVENTS",
        "LOG_FILE_MAX_BYTES",
        "LOG_FORMAT",
        "LOG_FORMAT_FILE",
        "MACRO_DEBUGGING",
        "NO_PRINT",
        "PACKAGE_HUB_URL",
        "PARTIAL_PARSE",
        "POPULATE_CACHE",
        "PRINT",
        "PRINTER_WIDTH",
        "RECORDED_FILE_PATH",
        "SEND_ANONYMOUS_USAGE_STATS",
        "SHOW_RESOURCE_REPORT",
        "SQLPARSE",
        "STATIC_PARSER",
        "UPLOAD_TO_ARTIFACTS_INGEST_API",
        "USE_COLORS_FILE",
        "USE_EXPERIMENTAL_PARSER",
        "USE_FAST_TEST_EDGES",
    }
)
"""Options that change neither the models nor the tests: output, logs, speed, and commands other than `build`."""


def require_neutral_environment() -> None:
    """Checks that no variable of dbt changes what a build does.

    Raises:
        ConfigurationError: one is set; the message names it.
    """
    for variable in sorted(os.environ):
        option = variable.removeprefix("DBT_").removeprefix("ENGINE_")
        if variable.startswith("DBT_") and option in REFUSED and os.environ[variable]:
            raise ConfigurationError(
                f"the environment variable {variable} would change which models, rows or tests dbt builds",
                hint=f"Unset it for meterhouse: env -u {variable} meterhouse …, `run --no-models` loads without dbt.",
            )
