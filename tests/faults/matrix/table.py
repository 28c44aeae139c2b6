"""The fault matrix as the table in tests/README.md."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.faults.matrix.cases import CASES
from tests.providers import DESCRIPTIONS

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- fault matrix: begin -->\n", "<!-- fault matrix: end -->\n"
NOT_APPLICABLE, NOT_RUN = "–", "·"

Outcome = Sequence[str | int]
"""Case, provider, how the run ended, retries, requests."""


def cell(ended: str, retries: int, requests: int) -> str:
    return f"{ended} {retries}/{requests}"


def render(outcomes: Iterable[Outcome]) -> str:
    """A row a case and a column a provider."""
    cells = {
        (case, provider): cell(str(ended), int(retries), int(requests))
        for case, provider, ended, retries, requests in outcomes
    }
    lines = [f"| the server | {' | '.join(DESCRIPTIONS)} |", "| --- |" + " --- |" * len(DESCRIPTIONS)]
    for case in CASES:
        row = [
            cells.get((case.name, name), NOT_RUN if case.applies(provider) else NOT_APPLICABLE)
            for name, provider in DESCRIPTIONS.items()
        ]
        lines.append(f"| {case.name} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def written() -> Mapping[tuple[str, str], str]:
    """The cells of the table in the README, by case and provider."""
    table = README.read_text().partition(BEGIN)[2].partition(END)[0]
    header, _, *rows = [[cell.strip() for cell in line.strip("|\n ").split(" | ")] for line in table.strip().splitlines()]
    return {(name, provider): cell for name, *cells in rows for provider, cell in zip(header[1:], cells, strict=True)}


def write(table: str) -> None:
    """Replaces the table in the README."""
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")
