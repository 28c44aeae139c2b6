"""How scripts and style sheets become part of the report."""

import pytest

from meterhouse.pipelines.report.render import PAGE, SCRIPTS, STYLES


def test_every_file_of_the_page_is_rendered() -> None:
    """Each file in the folder `page` is the template, a listed script or a listed style sheet."""
    assert {file.name for file in PAGE.iterdir()} == {"page.html.j2", "exact.js", *SCRIPTS, *STYLES}


@pytest.mark.parametrize("name", ["exact.js", *SCRIPTS, *STYLES])
def test_files_survive_the_removal_of_line_breaks(name: str) -> None:
    """No text spans lines, and every comment has lines of its own, so that joining lines cannot change the code."""
    for line in (PAGE / name).read_text(encoding="utf-8").splitlines():
        code = line.strip()
        assert code.count("`") % 2 == 0, line
        if code.startswith("/*"):
            assert code.endswith("*/"), line
        elif not code.startswith("//"):
            assert "//" not in code.replace("http://", ""), line
            assert "/*" not in code, line
