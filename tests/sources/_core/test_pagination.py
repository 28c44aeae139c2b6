"""Pages that overlap although they have numbers and sizes only."""

import pytest

from meterhouse.sources._core.pagination import overlapping_page


@pytest.mark.parametrize("most", [8, 100, 999, 1000])
def test_pages_have_a_row_in_common_leave_none_out_and_get_on(most: int) -> None:
    """Whatever the size, from the first page on."""
    read = most
    for _ in range(90):
        asked = overlapping_page(read, most, 10_000)
        assert asked is not None
        page, size = asked
        assert size <= most
        assert (page - 1) * size < read < page * size
        read = page * size


def test_large_pages_cost_hardly_more_than_without_an_overlap() -> None:
    """50,000 rows by the thousand: three pages more than fifty, at most."""
    read, pages = 1000, 1
    while read < 50_000:
        page, size = overlapping_page(read, 1000, 100) or (0, 0)
        read, pages = page * size, pages + 1
    assert pages <= 53


def test_a_single_row_has_no_page_that_overlaps() -> None:
    """Pages of one row follow one another."""
    assert overlapping_page(1, 1, 100) == (2, 1)


def test_there_is_none_behind_the_last_page() -> None:
    """So many rows cannot be asked for by number."""
    assert overlapping_page(100_000, 1000, 100) is None
