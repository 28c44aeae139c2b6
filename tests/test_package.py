"""The sdist, the wheel built from it, and the container image."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.sources.registry import PROVIDERS
from tests.conftest import Cli
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


BILLS_IN_FOCUS = """
    with bills as (
        select "InvoiceId" as invoice_id, sum("BilledCost") as billed
        from usage.focus_1_2_cost_and_usage
        where "InvoiceId" is not null and "ProviderName" = 'Mathpix'
        group by all
    )

    select invoice_id, billed, sum(net) as net, sum(computed) as computed, bool_and(status = 'matched') as is_matched
    from bills
    left join usage.invoice_reconciliation using (invoice_id)
    group by all
    order by all
"""
"""For each invoice, its billed cost in FOCUS, its amount, and the cost that the reconciliation computes."""


@pytest.mark.thorough
def test_the_demo_runs_from_the_wheel(installed: Path, cli: Cli, sandbox: Sandbox) -> None:
    """In an environment that has only the wheel with the extra `demo`, and nothing of the checkout.

    The demo ignores the configuration, sends no real key, and ends with a cost by month. Every query of the README has a
    result in demo.duckdb. One line of its invoices differs from the computed cost.
    """
    python = installed / "venv" / "bin" / "python"

    def run(*arguments: str, **variables: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
        command = [str(python), "-I", "-m", "meterhouse.pipelines.cli", *arguments]
        finished = subprocess.run(command, cwd=cli.folder, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    project = Path(run("models", "--path").strip())
    assert project.is_relative_to(installed / "venv")
    before = {file for file in project.rglob("*") if file.suffix != ".pyc"}
    output = run("demo", SOURCES__BILLING__PRICES="missing.csv")
    assert {file for file in project.rglob("*") if file.suffix != ".pyc"} == before
    assert "missing.csv" not in output
    assert "cost by month" in output
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()
    assert output.count(" mathpix   default ") == 13
    assert all(f"\n{provider}" in output for provider in PROVIDERS)
    assert "UNPRICED" in output
    assert "report  demo.html" in output
    assert b"Usage and cost" in (cli.folder / "demo.html").read_bytes()

    cli.database = cli.folder / "demo.duckdb"
    costs = cli.rows("select provider, sum(billed_cost) from usage.cost_monthly group by all")
    assert {provider for provider, cost in costs if cost > 0} == set(PROVIDERS)
    readme = (TOP / "pipelines/transform/README.md").read_text()
    queries = "".join(re.findall(r"^```sql\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)).split(";")
    present = [query for query in queries if query.strip() and "usage_as_of." not in query]  # test_as_of.py runs that one
    assert len(present) == 10
    for query in present:
        assert cli.rows(query), query
    statuses = cli.rows("select status, count(*) from usage.invoice_reconciliation where provider = 'mathpix' group by 1")
    assert {"matched": 32, "over": 1, "not invoiced yet": 3}.items() <= dict(statuses).items()
    bills = cli.rows(BILLS_IN_FOCUS)
    assert len(bills) == 11
    assert all(billed == net > 0 for _, billed, net, _, is_matched in bills if is_matched)
    ((billed, net, computed),) = [bill[1:4] for bill in bills if not bill[4]]
    assert net - computed > 1
    assert abs(billed - computed) <= 0.005  # FOCUS does not round a line that differs


@pytest.mark.thorough
def test_the_wheel_has_the_billing_templates(installed: Path, tmp_path: Path) -> None:
    """`check --billing-templates` writes them in an environment that has only the wheel."""
    python = installed / "venv" / "bin" / "python"
    command = [str(python), "-I", "-m", "meterhouse.pipelines.cli", "check", "--billing-templates", "billing"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
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
