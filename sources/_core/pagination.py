"""Numbered pages that overlap, so that a reader notices rows that move between pages."""


def overlapping_page(read: int, most: int, last_page: int) -> tuple[int, int] | None:
    """Number and size of the page to request after the first `read` rows; None if it would lie beyond `last_page`.

    The page begins as close as possible before the end of the rows read, so its first rows are known: if they differ, a row
    was added or removed in between. Pages of equal size have no row in common, but page 2 of 999 rows begins with the last
    row of page 1 of 1000. If no size gives an overlap (tiny pages only), the page begins where the rows end.

    Args:
        read: the number of rows read so far.
        most: the largest page size.
        last_page: the largest page number.
    """
    best: tuple[int, int, int] | None = None
    for size in range(most, max(1, most // 2), -1):
        page = -(-read // size)
        if read % size and page <= last_page and (best is None or page * size > best[0]):
            best = page * size, page, size
    if best is not None:
        return best[1], best[2]
    # The rows end with a full page: continue with the next one of that size.
    return (read // most + 1, most) if read % most == 0 and read // most < last_page else None
