"""How Mathpix's API behaves where its documents leave a choice."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True)
class Options:
    """Behaviour that the documents leave open or contradict each other about; change it at any time.

    Attributes:
        shape: the form of a dimension that was not grouped by. "scalars" is the newer page: the value where the row has only
            one, '' where it has several (in the page's sample the image row has a hash; the image-async row, which had two
            of them on the older page, has ''). "arrays" is the older page: the list of all values, and no `group_id`.
            "sparse" omits the field, and `group_id` with it, as the OpenAPI text allows.
        paging: "ignored" returns all rows for every page.
        per_page_cap: the most rows of a response, regardless of `per_page`. With paging honoured it is the size of a page;
            with paging ignored every response is cut there.
        disabled: the accounts whose keys get `account_disabled`.
    """

    shape: Literal["scalars", "arrays", "sparse"] = "scalars"
    paging: Literal["honoured", "ignored"] = "honoured"
    per_page_cap: int | None = None
    disabled: set[str] = field(default_factory=set)
