"""`meterhouse sandbox --limits`."""

from typing import Any

import pytest
from typer.testing import CliRunner

import meterhouse.pipelines.sandbox
from meterhouse.pipelines.cli import app


@pytest.mark.parametrize(("arguments", "documented"), [([], False), (["--limits"], True)])
def test_the_command_line_switches_the_documented_limits_on(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], documented: bool
) -> None:
    """They are off as a rule, so that nobody who tries it waits."""
    served: list[Any] = []
    monkeypatch.setattr(
        meterhouse.pipelines.sandbox, "serve", lambda *_, documented_limits: served.append(documented_limits)
    )
    assert CliRunner().invoke(app, ["sandbox", *arguments]).exit_code == 0
    assert served == [documented]
