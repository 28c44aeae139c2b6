"""Which organisation, app or workspace each account reports, so that no usage is loaded under two accounts.

The columns `Table.identity` name the organisation or app that a row's usage belongs to. dlt's state of the source keeps
their values by account. If an account reports what another account has reported, the window that shows it and all later ones
are not merged. The comparison ignores case. Where rows of most tables identify nothing, `Partition.identify` requests the
values. Two accounts may share an organisation if each loads only some products, and no product twice.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from shlex import quote
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from meterhouse.sources._core.errors import AccountConflict
from meterhouse.sources._core.partition import Partition
from meterhouse.sources._core.schema import Table

Reported = dict[str, dict[str, list[str]]]
"""By account and column, the values reported so far, as dlt's state keeps them."""

Claimed = Mapping[str, Collection[str]]
"""By column, the values of one account."""

LIMITED_TO = "limited_to"
"""Beside the columns of an account, the products that it has loaded; missing if it has ever loaded all of them."""

WHERE_RENAMED = "(on DuckDB and PostgreSQL)"
"""Where `rename-account` works: elsewhere, no transaction changes all tables together with dlt's state."""

_CLAIMING = Lock()
"""The tables of a source are read in several threads, and share its state."""


@dataclass(frozen=True)
class Identities:
    """The identities of all accounts of a source, as seen from one of its tables."""

    table: Table
    accounts: Collection[str]
    """The configured accounts that load the table."""
    resources: Collection[str] = ()
    """The resources that the run loads."""
    reported: Reported = field(default_factory=dict)

    def check_partition(self, partition: Partition, resolved_columns: Collection[str]) -> Claimed:
        """What the partition reports as far as it is known before the first window is requested.

        `resolved_columns` are the columns that the API resolved: what the key belongs to, not what the user configured.

        Raises:
            AccountConflict: another account has reported it, this account has reported another owner, or it reports one
                owner in two spellings.
        """
        claimed: dict[str, Collection[str]] = {
            name: [partition.fixed_columns[name]] for name in self._columns if name in partition.fixed_columns
        }
        has_others = bool({*self.accounts, *self.reported} - {partition.account})
        is_identified = partition.account in self.reported or partition.identified_by in self.resources
        if partition.identify is not None and (has_others or not is_identified):
            claimed |= partition.identify()
        with _CLAIMING:
            self._require_no_other(partition, claimed)
            if self.table.owner in resolved_columns:
                self._require_not_moved(partition.account, claimed)
            if self.table.owner in claimed:
                self._require_one_spelling(partition.account, next(iter(claimed[self.table.owner])))
        return claimed

    def claim(self, partition: Partition, known: Claimed, rows: pa.Table) -> None:
        """Keeps what the partition and the rows of a window report; `known` is the result of `check_partition`.

        An account that has read nothing keeps nothing, so that it is in no other account's way.

        Raises:
            AccountConflict: as `check_partition`; the rows must not be merged.
        """
        columns = [name for name in self._columns if name in rows.column_names and name not in partition.fixed_columns]
        found = {name: _values(rows.column(name)) for name in columns}
        with _CLAIMING:
            for claimed in (known, found):
                self._require_no_other(partition, claimed)
            self._require_not_moved(partition.account, found)
            self._keep_limit(partition)
            if known:  # they need not be requested again
                self.reported.setdefault(partition.account, {})
            for claimed in (known, found):
                for column, values in claimed.items():
                    if texts := set(filter(None, values)):
                        own = self.reported.setdefault(partition.account, {})
                        own[column] = sorted({*own.get(column, ()), *texts})

    @property
    def _columns(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (*self.table.identity, self.table.owner))))

    def _keep_limit(self, partition: Partition) -> None:
        """Keeps all products that the account has loaded so far, or that it is not limited."""
        own = self.reported.get(partition.account, {})
        if not partition.limited_to:
            own.pop(LIMITED_TO, None)
        elif not own or LIMITED_TO in own:
            products = {*own.get(LIMITED_TO, ()), *partition.limited_to}
            self.reported.setdefault(partition.account, {})[LIMITED_TO] = sorted(products)

    def _require_no_other(self, partition: Partition, claimed: Claimed) -> None:
        account, products = partition.account, partition.limited_to
        for other, values in self.reported.items():
            others = values.get(LIMITED_TO, ())
            is_apart = other == account or (products and others and not _common(products, others))
            for column in () if is_apart else claimed:
                shared = _common(claimed[column], values.get(column, ()))
                if shared and column != self._shareable_owner:
                    raise self._same(account, other, f"{column} {shared[0]}")

    def _require_not_moved(self, account: str, claimed: Claimed) -> None:
        """Raises if the account reports another owner than before, and nothing that it has reported before."""
        own = self.reported.get(account, {})
        owner = self.table.owner
        if not owner or not own.get(owner) or not any(claimed.get(owner, ())):
            return
        if not any(_common(values, own.get(column, ())) for column, values in claimed.items()):
            provider, before, now = self.table.provider, own[owner][0], min(filter(None, claimed[owner]))
            rename = f"`meterhouse rename-account {provider} {quote(account)} NEW` {WHERE_RENAMED}"
            raise self._error(
                f"the key of the account {account} now reports {owner} {now}, but its loaded rows belong to {before}",
                f"Restore the key of {before}, or give this key an account with another name. To keep the name for this key,"
                f" first rename the earlier rows: {rename}.",
            )

    def _require_one_spelling(self, account: str, value: str) -> None:
        column = self.table.owner
        for known in self.reported.get(account, {}).get(column, ()):
            if known != value and known.casefold() == value.casefold():
                raise self._error(
                    f"the account {account} reports {column} {known} and {value}, which differ in case only, so its usage"
                    " would count twice",
                    f"Write it as {known}, as in the rows that are loaded.",
                )

    @property
    def _shareable_owner(self) -> str:
        """The owner's column, if several accounts may share it because each reports a part of its usage; else ''."""
        return self.table.owner if self.table.owner not in self.table.identity else ""

    def _same(self, account: str, other: str, identity: str) -> AccountConflict:
        if other in self.accounts:
            return self._error(
                f"the accounts {other} and {account} both report {identity}, so its usage would count twice; no further "
                f"rows of {account} are loaded",
                f"Remove {account}, or {identity} from its settings. If {other} cannot read it any more, give it this key.",
            )
        rename = ""
        if account not in self.reported:  # else it has rows, and no others can be renamed to it
            command = f"`meterhouse rename-account {self.table.provider} {quote(other)} {quote(account)}`"
            rename = f"If {account} is the new name of {other}, run {command} {WHERE_RENAMED}. If not: "
        return self._error(
            f"the account {account} reports {identity}, whose usage is loaded as the account {other}; it would count twice",
            f"{rename}Configure {other} again with this key, and load {identity} in no other account.",
        )

    def _error(self, problem: str, hint: str) -> AccountConflict:
        return AccountConflict(problem, provider=self.table.provider, hint=hint)


def _common(values: Iterable[str], others: Iterable[str]) -> list[str]:
    known = {other.casefold() for other in others}
    return sorted(value for value in values if value and value.casefold() in known)


def _values(column: pa.ChunkedArray) -> set[str]:
    """The distinct texts; a list, which a dimension holds as a JSON array, counts as its items."""
    values: set[str] = set()
    for text in filter(None, pc.unique(column).to_pylist()):
        try:
            items = json.loads(text) if text.startswith("[") else [text]
        except ValueError:
            items = [text]
        values.update(map(str, items))
    return values
