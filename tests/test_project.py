"""What holds for the project as a whole: who may import whom, what the README prints, what must not be committed."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


def tracked() -> list[Path]:
    if not (TOP / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=True)
    return [TOP / name for name in listed.stdout.splitlines() if (TOP / name).is_file()]


def test_the_import_rules_hold() -> None:
    """A provider imports the core only, the core no provider, sources no pipelines, and only the command the sandbox."""
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    finished = subprocess.run(lint, cwd=TOP, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout


def test_constraints_are_names_and_versions_only() -> None:
    """No address, no hash, no option: `name==version` and comments."""
    for line in (TOP / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line), line


def test_every_dependency_is_constrained() -> None:
    """What the README installs is locked, extras included."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    locked = {line.split("==")[0].lower().replace("_", "-") for line in (TOP / "constraints.txt").read_text().splitlines()}
    for requirement in named:
        name = re.split(r"[<>=!\[; ]", requirement)[0].lower()
        assert name == "meterhouse" or name in locked, name


def test_no_secret_and_no_registry_is_committed() -> None:
    """Secrets stay in .dlt/secrets.toml, which git ignores; no file names a package registry's host."""
    files = tracked()
    assert TOP / ".dlt/secrets.toml" not in files
    hosts = [host.encode() for host in ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org")]
    assert not [file for file in files for host in hosts if host in file.read_bytes()]


def test_nothing_reads_what_is_outside_of_the_repository() -> None:
    """What the project needs it carries itself."""
    outside = ("../" + "shared", "/work/" + "shared")
    assert not [file for file in tracked() for path in outside if path.encode() in file.read_bytes()]


def test_the_readme_has_its_two_commands_first() -> None:
    """Block 1 installs and runs the demo, block 2 installs and passes the tests, each one line."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert [block.count("\n") for block in blocks] == [1, 1]
    assert "meterhouse demo" in blocks[0]
    assert "pytest" in blocks[1]


def test_every_provider_has_its_papers() -> None:
    """A provider is a folder with a source and a README, named in the project's README and in the example of secrets."""
    from meterhouse.pipelines.run.open import PROVIDERS

    folders = {file.parent.name for file in (TOP / "sources").glob("*/__init__.py")} - {"_core", "billing"}
    assert folders == set(PROVIDERS)
    for provider in folders:
        assert (TOP / "sources" / provider / "README.md").exists()
        assert f"sources/{provider}/README.md" in (TOP / "README.md").read_text()
        assert f"[sources.{provider}]" in (TOP / ".dlt/example.secrets.toml").read_text()
        assert f"[sources.{provider}]" in (TOP / ".dlt/config.toml").read_text()


def test_local_links_of_the_documentation_lead_somewhere() -> None:
    """A link to a file of the repository is a file of the repository."""
    for page in [TOP / "README.md", *(TOP / "sources").glob("*/README.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
