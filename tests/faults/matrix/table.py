"""The matrix as the README's table."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.faults.matrix.cases import ALL, CASES

README = Path(__file__).parents[3] / "README.md"
_ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$")
NOT_APPLICABLE = "–"

Outcome = Sequence[str | int]
"""Case, provider, how it ended, retries, requests."""


def written(outcomes: Iterable[Outcome]) -> str:
    """The table of all cases; a cell is the outcome, and behind it the retries and the requests of the faulty run."""
    cells = {(case, provider): f"{ended} {retries}/{requests}" for case, provider, ended, retries, requests in outcomes}
    lines = [f"| the server | {' | '.join(ALL)} |", "| --- |" + " --- |" * len(ALL)]
    for case in CASES:
        row = [cells.get((case.name, provider), NOT_APPLICABLE) for provider in ALL]
        lines.append(f"| {case.name} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def in_readme() -> Mapping[tuple[str, str], str]:
    """What the README's table says: by case and provider, the cell."""
    section = README.read_text().split("| the server |", 1)[1].split("\n\n", 1)[0]
    rows = [match.groups() for line in section.splitlines() if (match := _ROW.match(line)) and "---" not in line]
    return {(name, provider): cell for name, *cells in rows for provider, cell in zip(ALL, cells, strict=True)}


def replace_in_readme(table: str) -> None:
    """Puts the table into the README, in place of the one that is there."""
    before, rest = README.read_text().split("| the server |", 1)
    behind = rest.split("\n\n", 1)[1]
    README.write_text(f"{before}{table}\n{behind}")
