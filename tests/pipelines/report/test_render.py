"""How scripts and style sheets become part of the report."""

import os
import subprocess
import sys

import pytest

from meterhouse.pipelines.report.render import PAGE, SCRIPTS, STYLES


def test_every_file_of_the_page_is_rendered() -> None:
    """Each file in the folder `page` is the template, a listed script or a listed style sheet."""
    assert {file.name for file in PAGE.iterdir()} == {"page.html.j2", "exact.js", *SCRIPTS, *STYLES}


def test_the_report_needs_no_home_directory() -> None:
    """The user of a container may have neither HOME nor an entry in the list of users."""
    without = (
        "import pwd; pwd.getpwuid = lambda uid: {}[uid]; import meterhouse.pipelines.report.charts as c; c.chart_specs()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    subprocess.run([sys.executable, "-c", without], env=environment, check=True)


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
