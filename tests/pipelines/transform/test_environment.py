"""Variables of dbt in the environment of a build."""

from pathlib import Path

import pytest
from dbt.cli.main import cli as dbt
from dbt.env_vars import KNOWN_ENGINE_ENV_VARS

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.transform.build import dbt_arguments
from meterhouse.pipelines.transform.environment import GIVEN, HARMLESS, REFUSED, require_neutral_environment
from tests.conftest import Cli

OF_RECORDER = {"RECORDER_MODE"}
"""Not among dbt's options: dbt_common reads it."""


def names(variables: list[str]) -> set[str]:
    return {name.removeprefix("DBT_").removeprefix("ENGINE_") for name in variables}


def test_every_variable_of_the_installed_dbt_is_known() -> None:
    """A new version of dbt with a new variable fails here: it belongs into one of the three sets."""
    known = names([variable.name for variable in KNOWN_ENGINE_ENV_VARS])
    assert known | OF_RECORDER == REFUSED | GIVEN | HARMLESS
    assert len(REFUSED) + len(GIVEN) + len(HARMLESS) == len(REFUSED | GIVEN | HARMLESS)


def test_options_that_are_given_are_given() -> None:
    """Each option whose variable is allowed for that reason is on the command line of a build."""
    build = dbt.commands["build"]
    given = {
        name
        for option in build.params
        if {*option.opts, *option.secondary_opts} & set(dbt_arguments("duckdb", Path(), skips_tests=False))
        for name in names(option.envvar if isinstance(option.envvar, list) else [option.envvar] if option.envvar else [])
    }
    assert given == GIVEN


@pytest.mark.parametrize("prefix", ["DBT_", "DBT_ENGINE_"])
@pytest.mark.parametrize("option", sorted(REFUSED))
def test_a_run_with_such_a_variable_is_refused(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, prefix: str, option: str
) -> None:
    """Before anything is loaded."""
    monkeypatch.setenv(prefix + option, "1")
    for command in ("run", "models"):
        output = " ".join(cli(command, status=2).split())
        assert f"the environment variable {prefix}{option} would change" in output
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()


def test_a_load_without_models_is_not_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt does not run."""
    monkeypatch.setenv("DBT_EMPTY", "1")
    cli("run", "mathpix.ocr_usage_by_app_id", "--no-models", "--since", "2026-03-01", "--until", "2026-03-02")


def test_harmless_and_given_variables_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also an empty value, which dbt ignores."""
    for option in GIVEN | HARMLESS:
        monkeypatch.setenv(f"DBT_{option}", "1")
    monkeypatch.setenv("DBT_EMPTY", "")
    monkeypatch.setenv("DBT_ENV_SECRET_TOKEN", "x")
    require_neutral_environment()
