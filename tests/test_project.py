"""Rules of the whole project: imports, sizes, documentation, and contents that must not be committed."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterhouse.sources.registry import PROVIDERS

TOP = Path(__file__).parents[1]
CODE = (TOP / "sources", TOP / "pipelines")
LIBRARIES = {"dlt", "httpx", "httpcore"}


def tracked() -> list[Path]:
    if not (TOP / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=True)
    return [TOP / name for name in listed.stdout.splitlines() if (TOP / name).is_file()]


def shown(files: list[Path]) -> list[str]:
    return [str(file.relative_to(TOP)) for file in files]


def test_imports_follow_the_layers() -> None:
    """As the contracts of import-linter in pyproject.toml state them."""
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    finished = subprocess.run(lint, cwd=TOP, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout


def test_no_module_has_more_than_400_lines() -> None:
    """Tests and SQL are exempt."""
    modules = [file for file in tracked() if file.suffix == ".py" and not file.is_relative_to(TOP / "tests")]
    assert shown([module for module in modules if len(module.read_text().splitlines()) > 400]) == []


def private_names(module: Path) -> Iterator[str]:
    """Names of dlt, httpx and httpcore with a leading underscore, and such attributes where one of them is imported."""
    tree = ast.parse(module.read_text())
    imported = {name for node in ast.walk(tree) for name in imported_names(node) if name.partition(".")[0] in LIBRARIES}
    for name in imported:
        if any(is_private(part) for part in name.split(".")):
            yield name
    for node in ast.walk(tree) if imported else ():
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) not in OWN:
            yield ast.unparse(node)


OWN = {"self", "cls", "super()"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_private_names_of_libraries_are_used_in_one_module() -> None:
    """In `dlt_compat.private`, where each has a function and the test that fails when the library changes."""
    compat = TOP / "sources" / "_core" / "dlt_compat" / "private.py"
    modules = [file for folder in CODE for file in folder.rglob("*.py") if file != compat]
    used = {str(module.relative_to(TOP)): [*private_names(module)] for module in modules}
    assert {module: names for module, names in used.items() if names} == {}


def test_constraints_are_names_and_versions_only() -> None:
    """No URL, hash or option: `name==version` and comments."""
    for line in (TOP / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line), line


def test_every_dependency_is_constrained() -> None:
    """Including those of the extras."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    locked = {line.split("==")[0].lower().replace("_", "-") for line in (TOP / "constraints.txt").read_text().splitlines()}
    for requirement in named:
        name = re.split(r"[<>=!\[; ]", requirement)[0].lower()
        assert name == "meterhouse" or name in locked, name


def test_no_secret_and_no_registry_is_committed() -> None:
    """git ignores .dlt/secrets.toml, and no file names the host of a package registry."""
    files = tracked()
    assert TOP / ".dlt/secrets.toml" not in files
    hosts = [host.encode() for host in ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org")]
    assert not [file for file in files for host in hosts if host in file.read_bytes()]


def test_no_file_names_a_path_outside_the_repository() -> None:
    """The repository contains all that it needs."""
    outside = ("../" + "shared", "/work/" + "shared")
    assert not [file for file in tracked() for path in outside if path.encode() in file.read_bytes()]


OLD_PROSE = (
    *("leaves_out_what_is_one_more_of_a_kind", "where_there_is_nothing_to_object_to", "failing_in_that_is_a_warning"),
    *("How_much_was_foreseen_when_last_it_was_looked_at", "test what is packed otherwise"),
)
"""Phrases with spaces and underscores exchanged, so that this file does not contain them."""


def test_the_old_prose_is_gone() -> None:
    """None of the phrases is anywhere in the repository, across line breaks too."""
    phrases = [phrase.translate(str.maketrans("_ ", " _")).encode() for phrase in OLD_PROSE]
    assert shown([file for file in tracked() if any(p in b" ".join(file.read_bytes().split()) for p in phrases)]) == []


def test_the_readme_is_short_and_starts_with_its_two_commands() -> None:
    """Under 220 lines; block 1 installs and runs the demo, block 2 installs and runs the tests, one line each."""
    readme = (TOP / "README.md").read_text()
    assert len(readme.splitlines()) < 220
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert [block.count("\n") for block in blocks] == [1, 1]
    assert "meterhouse demo" in blocks[0]
    assert "pytest" in blocks[1]


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_is_documented(name: str) -> None:
    """It has a README, which the README of the project or of the sources links to, and example settings and secrets."""
    assert (TOP / "sources" / name / "README.md").exists()
    assert (
        f"sources/{name}/README.md" in (TOP / "README.md").read_text()
        or f"({name}/README.md" in (TOP / "sources" / "README.md").read_text()
    )
    assert f"[sources.{name}]" in (TOP / ".dlt/example.secrets.toml").read_text()
    assert f"[sources.{name}]" in (TOP / ".dlt/config.toml").read_text()


def test_every_source_folder_is_a_registered_provider() -> None:
    """Except the core and billing, which is no vendor's."""
    folders = {file.parent.name for file in (TOP / "sources").glob("*/__init__.py")}
    assert folders == {*PROVIDERS, "_core", "billing"}


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_files_resolve() -> None:
    """Every link of a Markdown file to a file of the repository, and to a heading in it."""
    broken = []
    for page in tracked():
        if page.suffix == ".md":
            for link in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", page.read_text()):
                path, _, anchor = link.partition("#")
                target = page.parent / path if path else page
                if not target.exists() or (anchor and anchor not in anchors(target)):
                    broken.append(f"{page.relative_to(TOP)}: {link}")
    assert broken == []
