"""Only settings in meterhouse's own sections have an effect, and the rows land in the database that a run prints."""

import re
import shutil
from pathlib import Path

import dlt
import pytest
from dlt.common import known_env
from dlt.common.runtime.run_context import active

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.duckdb import DuckDBDestination
from meterhouse.pipelines.warehouse.resolve import DLT_VARIABLES, FIXED
from meterhouse.sources._core.dlt_compat.settings import settings_of
from tests.conftest import Cli
from tests.faults.conftest import configure

WINDOW = ("--since", "2026-03-01", "--until", "2026-03-02")
pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("own_dlt_folder")]

LOAD = ("run", "mathpix.ocr_usage_by_app_id", "--no-models", *WINDOW)
TABLES = (
    "select table_schema, table_name, column_name from information_schema.columns"
    " where table_catalog = 'meterhouse' order by all"
)
COUNTS = "select count(*), (select count(*) from mathpix._dlt_loads) from mathpix.ocr_usage_by_app_id"


def load_again(cli: Cli) -> None:
    """Repeats the load of `loaded`: the same tables, columns and rows, another load of them, and no other database."""
    tables, ((rows, loads),) = cli.rows(TABLES), cli.rows(COUNTS)
    cli(*LOAD)
    assert cli.rows(TABLES) == tables
    assert cli.rows(COUNTS) == [(rows, loads + 1)]
    assert [file.name for file in Path().rglob("*.duckdb")] == [cli.database.name]


@pytest.fixture(scope="module")
def first_load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the database and of dlt's folder after a load; the first test that needs it makes it."""
    return tmp_path_factory.mktemp("first") / "load"


@pytest.fixture
def loaded(cli: Cli, dlt_data_dir: Path, first_load: Path) -> Cli:
    """A database into which a day has been loaded."""
    pipelines = dlt_data_dir / "pipelines"
    if first_load.exists():
        shutil.copy(first_load / cli.database.name, cli.database)
        shutil.copytree(first_load / "pipelines", pipelines, dirs_exist_ok=True)
    else:
        cli(*LOAD)
        shutil.copytree(pipelines, first_load / "pipelines", ignore=shutil.ignore_patterns("transform"))
        shutil.copy(cli.database, first_load)
    return cli


FOREIGN_VARIABLES = {
    "DEV_MODE": "true",
    "FULL_REFRESH": "true",
    "REFRESH": "drop_sources",
    "WORKERS": "0",
    "SINCE": "2026-03-05",
    "BASE_URL": "http://127.0.0.1:1",
    "DATASET_NAME": "elsewhere",
    "DATASET_NAME_LAYOUT": "other_%s",
    "USE_SINGLE_DATASET": "false",
    "STAGING_DATASET_NAME_LAYOUT": "mathpix",
    "STAGING_TYPE": "filesystem",
    "ENABLE_DATASET_NAME_NORMALIZATION": "no",
    "REPLACE_STRATEGY": "staging-optimized",
    "NAMING": "sql_cs_v1",
    "IMPORT_SCHEMA_PATH": "elsewhere",
    "DESTINATION_TYPE": "dummy",
    "CREDENTIALS": "other.duckdb",
    "DATABASE": "other.duckdb",
    "READ_ONLY": "true",
    "CREDENTIALS__DATABASE": "other.duckdb",
    "PIPELINES__DEV_MODE": "true",
    "PIPELINES__MATHPIX__DATASET_NAME_LAYOUT": "other_%s",
    "BILLING__DESTINATION__DUCKDB__CREDENTIALS": "other.duckdb",
    "SCHEMA__NAMING": "sql_cs_v1",
    "SOURCES__SCHEMA__NAMING": "sql_cs_v1",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID": "true",
    "DATA_WRITER__FILE_MAX_ITEMS": "1",
    "LOAD__RAISE_ON_FAILED_JOBS": "false",
    "DLT_LOCAL_DIR": "elsewhere",
}
"""Variables to which dlt falls back, or that it reads itself."""

FOREIGN_SETTINGS = """
dev_mode = true
base_url = 'http://127.0.0.1:1'
since = '2026-03-05'
database = 'other.duckdb'

[pipelines]
dev_mode = true
refresh = 'drop_sources'
use_single_dataset = false

[pipelines.mathpix]
dataset_name_layout = 'other_%s'

[schema]
naming = 'sql_cs_v1'

[credentials]
database = 'other.duckdb'

[normalize.data_writer]
file_max_items = 1
"""


def test_variables_of_other_programs_change_nothing(loaded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them at once."""
    for variable, value in FOREIGN_VARIABLES.items():
        monkeypatch.setenv(variable, value)
    load_again(loaded)


@pytest.mark.thorough
@pytest.mark.parametrize(("variable", "value"), FOREIGN_VARIABLES.items())
def test_a_variable_of_another_program_changes_nothing(
    loaded: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Each on its own, because one could hide what another does."""
    monkeypatch.setenv(variable, value)
    load_again(loaded)


def test_the_configuration_of_another_project_changes_nothing(loaded: Cli) -> None:
    """A `.dlt` folder that belongs to other pipelines may be in the working directory."""
    configure(FOREIGN_SETTINGS)
    load_again(loaded)


def test_a_dlt_workspace_changes_nothing(loaded: Cli) -> None:
    """In a workspace, dlt resolves relative paths in `.dlt/.var/…` and reads the files of a profile."""
    configure("[workspace.settings]\nlocal_dir = 'elsewhere'\n")
    Path(".dlt/dev.config.toml").write_text(FOREIGN_SETTINGS)
    Path(".dlt/.workspace").touch()
    active().reload()
    load_again(loaded)


@pytest.mark.parametrize(
    "name",
    [
        "DESTINATION__DUCKDB__STAGING_DATASET_NAME_LAYOUT",
        "DESTINATION__STAGING_DATASET_NAME_LAYOUT",
        "DESTINATION__DUCKDB__ENABLE_DATASET_NAME_NORMALIZATION",
        "DESTINATION__DUCKDB__REPLACE_STRATEGY",
        "DLT_DEFAULT_NAMING_MODULE",
        "SOURCES__MATHPIX__SCHEMA__NAMING",
        "SOURCES__MATHPIX__DATA_WRITER__FILE_MAX_ITEMS",
    ],
)
def test_a_setting_that_moves_rows_is_refused(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In our own sections, where it was meant for us, and in the environment that dlt reads itself."""
    monkeypatch.setenv(name, "mathpix")
    assert name in cli(*LOAD, status=2)
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()


@pytest.mark.parametrize("before", [LOAD, ("status",)], ids=["after a load", "new"])
def test_rows_that_landed_elsewhere_are_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch, before: tuple[str, ...]) -> None:
    """After the load, the run looks for it in the database that it printed."""
    cli(*before, status=0 if before == LOAD else 1)

    def pipeline(self: DuckDBDestination, name: str) -> dlt.Pipeline:
        folder = str(self.working_dir)
        return dlt.pipeline(name, destination=self.dlt_destination, dataset_name=f"{name}_dev", pipelines_dir=folder)

    monkeypatch.setattr(DuckDBDestination, "pipeline", pipeline)
    output = " ".join(cli(*LOAD, status=1).split())
    assert re.search(r"FAILED mathpix: dlt has not recorded load \S+ in .* of .*meterhouse.duckdb", output)


def test_every_setting_of_a_destination_is_known() -> None:
    """A new version of dlt with a new setting fails here: does it change where rows land, or whether?"""
    harmless = {
        *("credentials", "destination_name", "environment", "info_tables_query_threshold", "create_indexes"),
        *("bucket_url", "layout", "warn_unsafe_layout_separators", "read_only", "kwargs", "client_kwargs", "config_kwargs"),
        *("current_datetime", "extra_placeholders", "max_state_files", "always_refresh_views", "deltalake_streamed_exec"),
        *("deltalake_storage_options", "deltalake_configuration", "iceberg_table_properties"),
        *("iceberg_namespace_properties", "iceberg_use_catalog_purge"),
    }
    destinations = (dlt.destination(name) for name in ("duckdb", "postgres", "filesystem"))
    known = {setting for destination in destinations for setting in settings_of(destination.spec)}
    assert known == harmless | set(FIXED)


def test_every_variable_that_dlt_reads_itself_is_known() -> None:
    """They bypass the providers of settings."""
    harmless = {
        *("DLT_PROJECT_DIR", "DLT_DATA_DIR", "DLT_CONFIG_FOLDER"),  # where configuration and working files are
        *("DLT_INTERVAL_START", "DLT_INTERVAL_END", "DLT_INTERVAL_TIMEZONE", "DLT_ALLOW_EXTERNAL_SCHEDULERS"),  # supported
        *("DLT_DLT_ID_LENGTH_BYTES", "DLT_USE_JSON", "DLT_JSON_TYPED_PUA_START"),  # rows are Arrow tables without such keys
        *("DLT_PIP_TOOL", "DLT_DISABLE_PLUGINS"),
    }
    read = {value for name, value in vars(known_env).items() if name.startswith("DLT_")}
    assert read == harmless | {"DLT_LOCAL_DIR"} | set(DLT_VARIABLES)
