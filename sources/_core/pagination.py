"""Pages by number that overlap: how to notice that rows have moved while they were read."""


def overlapping_page(read: int, most: int, last_page: int) -> tuple[int, int] | None:
    """Number and size of the page to ask for after the first `read` rows; None where it would be behind `last_page`.

    It begins before the end of what was read, as shortly before as it can, so that its first rows are known: if they are
    others, a row has come or gone in between. Pages of equal size have no row in common, but page 2 of 999 rows begins
    with the last row of page 1 of 1000. Where all sizes would begin a page just there (tiny pages only), it begins where the
    rows end.
    """
    best: tuple[int, int, int] | None = None
    for size in range(most, max(1, most // 2), -1):
        page = -(-read // size)
        if read % size and page <= last_page and (best is None or page * size > best[0]):
            best = page * size, page, size
    if best is not None:
        return best[1], best[2]
    # Rows that end with a page: the next one of that size.
    return (read // most + 1, most) if read % most == 0 and read // most < last_page else None
