"""Numbered pages that overlap because their sizes differ."""

import pytest

from meterhouse.sources._core.pagination import overlapping_page


@pytest.mark.parametrize("most", [8, 100, 999, 1000])
def test_each_page_overlaps_and_advances(most: int) -> None:
    """Pages of any size have a row in common and leave no row out."""
    read = most
    for _ in range(90):
        asked = overlapping_page(read, most, 10_000)
        assert asked is not None
        page, size = asked
        assert size <= most
        assert (page - 1) * size < read < page * size
        read = page * size


def test_the_overlap_costs_few_pages() -> None:
    """50,000 rows by the thousand take at most three pages more than fifty."""
    read, pages = 1000, 1
    while read < 50_000:
        page, size = overlapping_page(read, 1000, 100) or (0, 0)
        read, pages = page * size, pages + 1
    assert pages <= 53


def test_pages_of_one_row_follow_one_another() -> None:
    """A page of one row cannot overlap."""
    assert overlapping_page(1, 1, 100) == (2, 1)


def test_returns_none_behind_the_last_page() -> None:
    """A number that large cannot be requested."""
    assert overlapping_page(100_000, 1000, 100) is None
