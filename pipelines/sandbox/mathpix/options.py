"""How Mathpix's API behaves where its documentation leaves a choice."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True)
class Options:
    """Behaviour that the documentation leaves open or contradicts itself about; change it at any time.

    Attributes:
        shape: the form of a dimension that the request does not group by. "scalars" is the newer page: the value if the row
            has only one, '' if it has several (in the page's sample, the image row has a hash; the image-async row, which
            had two on the older page, has ''). "arrays" is the older page: the list of all values, and no `group_id`.
            "sparse" omits the field, and `group_id` with it, as the OpenAPI text allows.
        group_by: the response to several values of `group_by`, which only the vendor's clients send: "all" groups by each of
            them, "first" and "last" by one, and "refused" returns `opts_bad`.
        paging: "ignored" returns all rows for every page.
        per_page_cap: the most rows of a response, regardless of `per_page`. If paging is honoured, it is the size of a page;
            if paging is ignored, every response is cut there.
        disabled: the accounts whose keys get `account_disabled`.
    """

    shape: Literal["scalars", "arrays", "sparse"] = "scalars"
    group_by: Literal["all", "first", "last", "refused"] = "all"
    paging: Literal["honoured", "ignored"] = "honoured"
    per_page_cap: int | None = None
    disabled: set[str] = field(default_factory=set)
