"""What others install: the sdist, the wheel out of it, and the container's image."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from zipfile import ZipFile

import duckdb
import pytest

from tests.test_project import TOP, tracked

INSTALLED = os.environ.get("METERHOUSE_INSTALLED")
"""The folder with sdist, wheel and a virtual environment that has the wheel, which .ci/installed makes."""

DOCKER = TOP / ".docker"


@pytest.fixture
def installed() -> Path:
    if not INSTALLED:
        pytest.skip("METERHOUSE_INSTALLED is not set: .ci/installed FOLDER makes what it has to name")
    return Path(INSTALLED)


def names(wheel: Path) -> set[str]:
    """The files that a wheel installs, less what describes it."""
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_sdist_and_wheel_are_complete(installed: Path) -> None:
    """The sdist is what git has; the wheel, which was built from it, is all of the two packages, and nothing else."""
    files = {str(file.relative_to(TOP)) for file in tracked()}
    (sdist,), (wheel,) = (installed / "dist").glob("*.tar.gz"), (installed / "dist").glob("*.whl")
    with tarfile.open(sdist) as packed:
        assert {name.partition("/")[2] for name in packed.getnames()} - {"PKG-INFO"} == files
    assert names(wheel) == {name for name in files if name.startswith(("sources/", "pipelines/"))}
    assert {"sources/py.typed", "pipelines/py.typed", "pipelines/transform/dbt_project.yml"} < names(wheel)


def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """In an environment that has nothing but the wheel, with the extra `demo`: nothing of the checkout is needed."""
    python = installed / "venv" / "bin" / "python"
    home = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

    def run(*arguments: str) -> str:
        environment = home | {"DLT_DATA_DIR": str(tmp_path / "dlt")}
        finished = subprocess.run(
            [python, "-I", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    meterhouse = ("-m", "meterhouse.pipelines.cli")
    project = Path(run(*meterhouse, "models", "--path").strip())
    assert project.is_relative_to(installed / "venv")
    before = {file for file in project.rglob("*") if file.suffix != ".pyc"}
    run(*meterhouse, "demo")
    with duckdb.connect(tmp_path / "demo.duckdb", read_only=True) as connection:
        costs = connection.sql("select provider, sum(billed_cost) from usage.cost_monthly group by all").fetchall()
    assert {provider for provider, cost in costs if cost > 0} == {"mathpix", "reducto", "onepin", "scopix"}
    assert {file for file in project.rglob("*") if file.suffix != ".pyc"} == before
    run(*meterhouse, "check", "--billing-templates", "billing")
    assert len(list((tmp_path / "billing").glob("*.csv"))) == len(list((TOP / "sources/billing/templates").glob("*.csv")))


def test_the_image_is_built_from_what_the_wheel_needs(installed: Path, tmp_path: Path) -> None:
    """What the build may see, by its list of what is not ignored, makes the same wheel."""
    (wheel,) = (installed / "dist").glob("*.whl")
    for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            seen = TOP / line[1:]
            (shutil.copytree if seen.is_dir() else shutil.copy)(seen, tmp_path / line[1:])
    hatchling = [str(installed / "build" / "bin" / "python"), "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(hatchling, cwd=tmp_path, capture_output=True, check=True)
    (same,) = (tmp_path / "dist").glob("*.whl")
    assert names(same) == names(wheel)


def test_the_dockerfile_is_right() -> None:
    """By hadolint; and what it runs is no superuser's."""
    file = DOCKER / "Dockerfile"
    if sys.platform != "win32":
        hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
        finished = subprocess.run([hadolint, file], capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout
    last_stage = file.read_text().rpartition("\nFROM ")[2].splitlines()
    (user,) = [line.split()[1] for line in last_stage if line.startswith("USER ")]
    assert int(user) > 0
    assert last_stage.index(f"USER {user}") < last_stage.index('ENTRYPOINT ["meterhouse"]') < last_stage.index('CMD ["run"]')
