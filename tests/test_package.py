"""The sdist, the wheel built from it, and the container image."""

import json
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

from meterhouse.sources.registry import PROVIDERS
from tests.test_project import TOP, tracked

INSTALLED = os.environ.get("METERHOUSE_INSTALLED")
"""The folder that .ci/installed makes: sdist, wheel, and a virtual environment with the wheel."""

DOCKER = TOP / ".docker"


@pytest.fixture
def installed() -> Path:
    if not INSTALLED:
        pytest.skip("METERHOUSE_INSTALLED is not set; .ci/installed FOLDER makes the folder")
    return Path(INSTALLED)


def names(wheel: Path) -> set[str]:
    """The files of a wheel without its metadata."""
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_sdist_and_wheel_are_complete(installed: Path) -> None:
    """The sdist has every file of the repository; the wheel has the two packages under `meterhouse`, and nothing else."""
    files = {str(file.relative_to(TOP)) for file in tracked()}
    (sdist,), (wheel,) = (installed / "dist").glob("*.tar.gz"), (installed / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in packed if name in {"PKG-INFO", "setup.cfg"} or ".egg-info/" in name}
    assert packed - made == files
    assert names(wheel) == {f"meterhouse/{name}" for name in files if name.startswith(("sources/", "pipelines/"))}
    for file in ("sources/py.typed", "pipelines/py.typed", "pipelines/transform/dbt_project.yml"):
        assert f"meterhouse/{file}" in names(wheel)


IMPORTS = """
import json, sys
import sources.mine, pipelines.mine, meterhouse.sources.mathpix, meterhouse.pipelines.run.orchestrate
names = ("sources", "sources.mine", "pipelines", "pipelines.mine", "meterhouse.sources", "meterhouse.pipelines")
print(json.dumps({name: sys.modules[name].__file__ for name in names}))
"""


def check_own_packages(python: Path, folder: Path) -> None:
    """Imports a project's own `sources` and `pipelines` beside meterhouse's, in one process."""
    own = {
        f"{package}{module}": folder / package / file
        for package in ("sources", "pipelines")
        for module, file in (("", "__init__.py"), (".mine", "mine.py"))
    }
    for file in own.values():
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    path = os.pathsep.join([".", *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONPATH": path}
    finished = subprocess.run(
        [python, "-c", IMPORTS], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    found = {name: (folder / file).resolve() for name, file in json.loads(finished.stdout).items()}
    ours = {name: found.pop(f"meterhouse.{name}") for name in ("sources", "pipelines")}
    assert found == {name: file.resolve() for name, file in own.items()}
    assert not [file for file in ours.values() if file.is_relative_to(folder)]


def test_a_project_keeps_its_own_packages_beside_the_checkout(tmp_path: Path) -> None:
    """`sources` and `pipelines` of the project, with PYTHONPATH=. and an editable installation, are the project's."""
    check_own_packages(Path(sys.executable), tmp_path)


def test_a_project_keeps_its_own_packages_beside_the_wheel(installed: Path, tmp_path: Path) -> None:
    """`sources` and `pipelines` of the project, with PYTHONPATH=. and the wheel, are the project's."""
    check_own_packages(installed / "venv" / "bin" / "python", tmp_path)


def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """In an environment that has only the wheel with the extra `demo`, and nothing of the checkout."""
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
    assert {provider for provider, cost in costs if cost > 0} == set(PROVIDERS)
    assert {file for file in project.rglob("*") if file.suffix != ".pyc"} == before
    run(*meterhouse, "check", "--billing-templates", "billing")
    assert len(list((tmp_path / "billing").glob("*.csv"))) == len(list((TOP / "sources/billing/templates").glob("*.csv")))


def test_the_image_has_the_same_wheel(installed: Path, tmp_path: Path) -> None:
    """The files that .dockerignore lets through are enough to build it."""
    (wheel,) = (installed / "dist").glob("*.whl")
    for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            seen = TOP / line[1:]
            (tmp_path / line[1:]).parent.mkdir(exist_ok=True)
            (shutil.copytree if seen.is_dir() else shutil.copy)(seen, tmp_path / line[1:])
    build = "-m pip wheel -q --no-deps --no-build-isolation --no-index -w dist ."
    python = installed / "build" / "bin" / "python"
    finished = subprocess.run([python, *build.split()], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    (same,) = (tmp_path / "dist").glob("*.whl")
    assert names(same) == names(wheel)


def test_the_dockerfile_passes_hadolint() -> None:
    """And the container does not run as root."""
    file = DOCKER / "Dockerfile"
    if sys.platform != "win32":
        hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
        finished = subprocess.run([hadolint, file], capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout
    last_stage = file.read_text().rpartition("\nFROM ")[2].splitlines()
    (user,) = [line.split()[1] for line in last_stage if line.startswith("USER ")]
    assert int(user) > 0
    assert last_stage.index(f"USER {user}") < last_stage.index('ENTRYPOINT ["meterhouse"]') < last_stage.index('CMD ["run"]')
