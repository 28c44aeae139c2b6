"""The cost of usage, computed row by row in `Decimal` from the documented rules, independently of the models.

It uses counters that go up and down with each row, no running totals, joins or windows. It is slow and written to be read
beside README ("How the numbers come about") and sources/billing/README.md.
"""

from __future__ import annotations

import csv
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

from tests.pipelines.transform.warehouse import PROJECT

NINE = Decimal("0.000000001")
PRECISE = Context(prec=90)
NEVER = date.max
BY_KIND = {"included": 1, "promotional": 2, "purchased": 3}


@dataclass(frozen=True)
class Account:
    provider: str
    account: str
    billing_account: str
    timezone: str
    signed_up_on: date | None
    loaded_from: datetime
    loaded_until: datetime


@dataclass(frozen=True)
class Use:
    provider: str
    account: str
    meter: str
    start: datetime
    end: datetime
    quantity: Decimal


@dataclass(frozen=True)
class Price:
    provider: str
    billing_account: str
    sku_id: str
    model: str
    tiers: tuple[tuple[Decimal, Decimal | None, Decimal], ...]
    currency: str
    valid_from: date
    valid_to: date | None
    is_credit_price: bool = False
    basis: str | None = None


@dataclass(frozen=True)
class Sku:
    """A row of the user's SKU file; not billed with an empty `sku_id`."""

    provider: str
    meter: str
    sku_id: str
    unit: str


@dataclass(frozen=True)
class Grant:
    provider: str
    billing_account: str
    grant_id: str
    kind: str
    unit: str
    amount: Decimal
    starts_on: date
    expires_on: date | None = None
    renews: str | None = None
    priority: int | None = None
    cost: Decimal | None = None
    currency: str | None = None
    key: str = ""


@dataclass(frozen=True)
class Fee:
    provider: str
    billing_account: str
    fee_id: str
    kind: str
    amount: Decimal
    currency: str
    valid_from: date
    valid_to: date | None
    sku_id: str
    prorate: bool = False
    after_credits: bool = False


@dataclass(repr=False)
class Scenario:
    """The inputs of a calculation. It has no repr, because Hypothesis would print all scenarios of an example."""

    accounts: list[Account] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    prices: list[Price] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    fees: list[Fee] = field(default_factory=list)
    skus: list[Sku] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """The part of a use that one grant, or none, covers."""

    use: Use
    owner: str
    date: date
    grant: Grant | None
    quantity: Decimal
    cost: Decimal = Decimal(0)


@dataclass(frozen=True)
class Charge:
    """A row of `charges`; unpriced usage has the `currency` ''."""

    provider: str
    billing_account: str
    account: str
    meter: str
    sku_id: str
    sku_price_id: str | None
    grant_id: str | None
    charge_category: str
    charge_period_start: datetime
    charge_period_end: datetime
    billing_month: date
    quantity: Decimal
    unit: str
    list_unit_price: Decimal | None
    unit_price: Decimal | None
    list_cost: Decimal
    contracted_cost: Decimal
    billed_cost: Decimal
    effective_cost: Decimal
    currency: str
    counted_sku_id: str = ""
    price_source: str | None = None
    price_basis: str | None = None
    price_valid_from: date | None = None
    list_sku_price_id: str | None = None


@dataclass(frozen=True)
class Balance:
    """A row of `credit_balance_daily` in the unit `credit`."""

    provider: str
    billing_account: str
    date: date
    granted: Decimal
    used: Decimal
    remaining: Decimal
    used_on_date: Decimal
    overage: Decimal
    days_left: Decimal | None
    remaining_cost: Decimal | None
    currency: str | None


def nine(amount: Decimal) -> Decimal:
    """Rounded to nine decimals, half away from zero."""
    return amount.quantize(NINE, ROUND_HALF_UP, PRECISE)


def month_of(day: date) -> date:
    """The first day of its month."""
    return day.replace(day=1)


def first_whole_day(instant: datetime, zone: ZoneInfo) -> date:
    """The first day of the zone that begins at or after the instant."""
    local = instant.astimezone(zone)
    return local.date() if local.time() == datetime.min.time() else local.date() + timedelta(days=1)


def next_month(day: date) -> date:
    """The first day of the month after."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def seed(name: str) -> list[dict[str, str]]:
    """The rows of one of the shipped lists."""
    with (PROJECT / "seeds" / f"{name}.csv").open() as lines:
        return list(csv.DictReader(lines))


def list_prices() -> list[Price]:
    """The public price list."""
    versions: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in seed("price_list"):
        versions[row["sku_id"], row["valid_from"]].append(row)
    return [
        Price(
            rows[0]["sku_id"].split("/")[0],
            "",
            rows[0]["sku_id"],
            rows[0]["pricing_model"],
            tuple(
                (Decimal(row["tier_from"]), Decimal(row["tier_to"]) if row["tier_to"] else None, Decimal(row["unit_price"]))
                for row in rows
            ),
            rows[0]["currency"],
            date.fromisoformat(rows[0]["valid_from"]),
            date.fromisoformat(rows[0]["valid_to"]) if rows[0]["valid_to"] else None,
            basis=rows[0]["basis"],
        )
        for rows in versions.values()
    ]


LIST = list_prices()
METERS = {(row["provider"], row["meter"]): row for row in seed("sku_map")}
"""The shipped SKU of each meter."""
TERMS = seed("signup_terms")


class GrantBalance:
    """A grant and the amount drawn from it."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.drawn = Decimal(0)
        self.turned_away = Decimal(0)

    def is_valid(self, day: date) -> bool:
        """Spans are half-open: nothing is drawn on the day of expiry."""
        return self.grant.starts_on <= day < (self.grant.expires_on or NEVER)

    def take(self, wanted: Decimal) -> Decimal:
        """Draw and return the amount. Usage taken back first undoes the latest usage: that for which no credit was left."""
        if wanted >= 0:
            taken = min(wanted, self.grant.amount - self.drawn)
            self.turned_away += wanted - taken
        else:
            undone = min(-wanted, self.turned_away)
            self.turned_away -= undone
            taken = -min(-wanted - undone, self.drawn)
        self.drawn += taken
        return taken

    @property
    def is_prepaid(self) -> bool:
        """Whether its cost is amortised over usage; that of a monetary credit only if paid in its own currency."""
        return bool(self.grant.cost) and self.grant.unit in ("credit", self.grant.currency)

    def passed_on(self) -> Decimal:
        """The share of its cost for the amount drawn so far."""
        return nine(PRECISE.divide((self.grant.cost or Decimal(0)) * self.drawn, self.grant.amount))


def meters_with(skus: Iterable[Sku]) -> dict[tuple[str, str], dict[str, str]]:
    """The SKU of each meter: the user's own first. Only the shipped SKU keeps the condition for a more expensive SKU."""
    meters = dict(METERS)
    for own in skus:
        shipped = METERS.get((own.provider, own.meter), {"sku_id": ""})
        highest_priced = shipped["highest_priced_sku_id"] if own.sku_id and own.sku_id == shipped["sku_id"] else own.sku_id
        is_billed = "true" if own.sku_id else "false"
        mapped = {"sku_id": own.sku_id, "highest_priced_sku_id": highest_priced, "unit": own.unit, "is_billed": is_billed}
        meters[own.provider, own.meter] = mapped
    return meters


class Calculator:
    """The charges of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.meters = meters_with(scenario.skus)
        self.owners = {(a.provider, a.account): a for a in scenario.accounts}
        self.pools = sorted({(a.provider, a.billing_account) for a in scenario.accounts})
        signups: dict[tuple[str, str], date] = {}
        for account in scenario.accounts:
            if account.signed_up_on:
                key = (account.provider, account.billing_account)
                signups[key] = min(signups.get(key, NEVER), account.signed_up_on)
        self.fees, self.given = list(scenario.fees), list(scenario.grants)
        for (provider, owner), day in signups.items():
            for term in TERMS:
                amount, currency = Decimal(term["amount"]), term["currency"]
                if term["provider"] == provider and term["kind"] == "fee":
                    self.fees.append(Fee(provider, owner, term["term_id"], "one_time", amount, currency, day, None, ""))
                elif term["provider"] == provider:
                    self.given.append(
                        Grant(
                            provider,
                            owner,
                            term["term_id"],
                            "promotional",
                            currency,
                            amount,
                            day,
                            None,
                            None,
                            None,
                            None,
                            None,
                        )
                    )
        self.months = {pool: list(self._months(*pool)) for pool in self.pools}
        self.grant_balances = {pool: self._balances_of_grants(*pool) for pool in self.pools}
        with localcontext(PRECISE):
            self.parts = [part for pool in self.pools for part in self._parts(*pool)]
            self.usage = self._priced(self.parts, high=False)
            self.high = self._priced(self.parts, high=True)
            self.credited: dict[int, Decimal] = {}
            self.prepaid: dict[int, tuple[Decimal, Decimal]] = {}
            self.credits = [charge for pool in self.pools for charge in self._money_credits(*pool)]
            self.expired = [charge for pool in self.pools for charge in self._expired(*pool)]
            self.others = [*self._charged_fees(), *self._purchases(), *self.expired]

    def charges(self) -> list[Charge]:
        """All charges."""
        return [charge for charge in (*map(self._paid, self.usage), *self.credits, *self.others) if charge.currency]

    def _paid(self, charge: Charge) -> Charge:
        """The usage after prepaid monetary credits: what they pay for is not billed and costs the price paid for them."""
        paid, cost = self.prepaid.get(id(charge), (Decimal(0), Decimal(0)))
        return replace(charge, billed_cost=charge.billed_cost - paid, effective_cost=charge.effective_cost - paid + cost)

    # Months, dates

    def _zone(self, provider: str, owner: str) -> ZoneInfo:
        return ZoneInfo(max(a.timezone for a in self._accounts(provider, owner)))

    def _accounts(self, provider: str, owner: str) -> list[Account]:
        return [a for a in self.scenario.accounts if (a.provider, a.billing_account) == (provider, owner)]

    def _day(self, use: Use) -> date:
        """Hours are converted to the billing calendar; days are already on the vendor's calendar."""
        if use.end - use.start == timedelta(hours=1):
            return use.start.astimezone(ZoneInfo(self.owners[use.provider, use.account].timezone)).date()
        return use.start.date()

    def _months(self, provider: str, owner: str) -> Iterator[date]:
        """From the first month with any data to the last loaded one."""
        zone = self._zone(provider, owner)
        accounts = self._accounts(provider, owner)
        loaded = [first_whole_day(a.loaded_from, zone) for a in accounts]
        mine = [self._day(use) for use in self.scenario.uses if self.owners[use.provider, use.account] in accounts]
        known = [g.starts_on for g in self.given if (g.provider, g.billing_account) == (provider, owner)]
        known += [f.valid_from for f in self.fees if (f.provider, f.billing_account) == (provider, owner)]
        month = month_of(min([*loaded, *mine, *known]))
        last = max([a.loaded_until.astimezone(zone).date() for a in accounts] + mine)
        while month <= last:
            yield month
            month = next_month(month)

    def _is_complete(self, provider: str, owner: str, month: date) -> bool:
        zone = self._zone(provider, owner)
        return all(
            first_whole_day(a.loaded_from, zone) <= month and next_month(month) <= a.loaded_until.astimezone(zone).date()
            for a in self._accounts(provider, owner)
        )

    def _period(self, provider: str, owner: str, month: date) -> tuple[datetime, datetime]:
        return self._between(provider, owner, month, next_month(month))

    def _between(self, provider: str, owner: str, first: date, last: date) -> tuple[datetime, datetime]:
        """The midnights of the billing calendar with which the two days start."""
        zone = self._zone(provider, owner)
        start, end = (datetime.combine(day, datetime.min.time(), zone).astimezone(UTC) for day in (first, last))
        return start, end

    def _months_since(self, provider: str, owner: str, day: date) -> int:
        """The number of months from that of the day to the last loaded one."""
        last = self.months[provider, owner][-1]
        return (last.year - day.year) * 12 + last.month - day.month + 1

    # Credits

    def _balances_of_grants(self, provider: str, owner: str) -> list[GrantBalance]:
        """The grants in the order of use; renewing ones once for each of their months."""
        grants = []
        for grant in self.given:
            if (grant.provider, grant.billing_account) != (provider, owner):
                continue
            if grant.renews is None:
                grants.append(replace(grant, key=grant.grant_id))
                continue
            for count in range(self._months_since(provider, owner, grant.starts_on)):
                starts, expires = anniversary(grant.starts_on, count), anniversary(grant.starts_on, count + 1)
                expires = min(grant.expires_on or NEVER, expires)
                if starts < expires:
                    grants.append(replace(grant, key=f"{grant.grant_id}/{starts}", starts_on=starts, expires_on=expires))
        grants.sort(
            key=lambda g: (
                BY_KIND[g.kind] if g.priority is None else g.priority, g.expires_on or NEVER, g.starts_on, g.key,
            )
        )  # fmt: skip
        return [GrantBalance(grant) for grant in grants]

    def _parts(self, provider: str, owner: str) -> Iterator[Part]:
        """Draw each use from the valid grants with something left; no grant covers the rest."""
        uses = [use for use in self.scenario.uses if use.provider == provider]
        uses = [use for use in uses if self.owners[provider, use.account].billing_account == owner and use.quantity]
        for use in sorted(uses, key=lambda use: (use.start, use.end, use.account, use.meter)):
            meter, left, day = self.meters.get((provider, use.meter)), use.quantity, self._day(use)
            if meter is not None and meter["is_billed"] != "true":
                continue
            for grant_balance in self.grant_balances[provider, owner]:
                if (
                    meter is None
                    or grant_balance.grant.unit != "credit"
                    or meter["unit"] != "credit"
                    or not grant_balance.is_valid(day)
                ):
                    continue
                before = grant_balance.passed_on()
                taken = grant_balance.take(left)
                left -= taken
                if taken:
                    yield Part(use, owner, day, grant_balance.grant, taken, grant_balance.passed_on() - before)
            if left:
                yield Part(use, owner, day, None, left)

    def _day_of(self, charge: Charge) -> date:
        """The day of a usage charge on the billing calendar."""
        start, zone = charge.charge_period_start, ZoneInfo(self.owners[charge.provider, charge.account].timezone)
        is_hourly = charge.charge_period_end - start == timedelta(hours=1)
        return start.astimezone(zone).date() if is_hourly else start.date()

    def _money_credits(self, provider: str, owner: str) -> Iterator[Charge]:
        """Monetary credits reduce the cost of usage day by day, in their currency; each charge of the day has its share."""
        days: dict[tuple[date, str], list[Charge]] = defaultdict(list)
        for charge in self.usage:
            if (charge.provider, charge.billing_account) == (provider, owner) and charge.billed_cost:
                days[self._day_of(charge), charge.currency].append(charge)
        spent: dict[tuple[str, date], Decimal] = defaultdict(Decimal)
        for (day, currency), charges in sorted(days.items(), key=lambda item: item[0]):
            cost = left = sum((charge.billed_cost for charge in charges), Decimal(0))
            credited, prepaid, prepaid_cost = Decimal(0), Decimal(0), Decimal(0)
            for grant_balance in self.grant_balances[provider, owner]:
                if grant_balance.grant.unit == currency and grant_balance.is_valid(day):
                    before = grant_balance.passed_on()
                    taken = grant_balance.take(left)
                    left -= taken
                    if grant_balance.is_prepaid:
                        prepaid += taken
                        prepaid_cost += grant_balance.passed_on() - before
                    else:
                        credited += taken
                        spent[grant_balance.grant.key, day] += taken
            if not cost:
                continue
            self._share(charges, credited, prepaid, prepaid_cost)
        by_key = {grant_balance.grant.key: grant_balance.grant for grant_balance in self.grant_balances[provider, owner]}
        for (key, day), amount in spent.items():
            grant = by_key[key]
            sku = f"{provider}/credits/{grant.grant_id}"
            midnight = datetime.combine(day, datetime.min.time(), UTC)
            period = (midnight, midnight + timedelta(days=1))
            costs_ = (-amount,) * 4
            if amount:
                yield Charge(
                    *(provider, owner, "", "", sku, None, grant.grant_id, "Credit", *period, month_of(day)),
                    *(Decimal(1), "credit", None, None, *costs_, grant.unit),
                )

    def _share(self, charges: list[Charge], credited: Decimal, prepaid: Decimal, prepaid_cost: Decimal) -> None:
        """Each charge of a day has a share of the credits, in proportion to its cost."""
        cost, until = sum((charge.billed_cost for charge in charges), Decimal(0)), Decimal(0)
        for charge in sorted(
            charges,
            key=lambda c: (
                *(c.charge_period_start, c.charge_period_end, c.account, c.meter),
                *(c.sku_price_id or "", c.list_sku_price_id or ""),
            ),
        ):
            before, until = until, until + charge.billed_cost
            free, paid, price = (
                nine(amount * until / cost) - nine(amount * before / cost) for amount in (credited, prepaid, prepaid_cost)
            )
            self.credited[id(charge)], self.prepaid[id(charge)] = free + paid, (paid, price)

    # Prices

    def _price(self, part: Part, sku: str) -> tuple[Price | None, Price | None]:
        """Prices of the list and of the contract: that of the billing account before that of all accounts."""

        def valid(prices: Iterable[Price], owner: str) -> Price | None:
            found = [p for p in prices if p.sku_id == sku and p.billing_account == owner]
            found = [p for p in found if p.valid_from <= part.date < (p.valid_to or NEVER)]
            assert len(found) <= 1, found
            return found[0] if found else None

        mine = [p for p in self.scenario.prices if p.provider == part.use.provider]
        return valid(LIST, ""), valid(mine, part.owner) or valid(mine, "")

    def _priced(self, parts: list[Part], *, high: bool) -> list[Charge]:
        """Move each pool up and down its tiers, one slice per tier."""
        pools: dict[tuple[Any, ...], list[tuple[Part, str, str]]] = defaultdict(list)
        for part in parts:
            meter = self.meters.get((part.use.provider, part.use.meter))
            counted = meter["sku_id"] if meter else ""
            sku = (meter["highest_priced_sku_id"] or counted) if meter and high else counted
            key = (part.use.provider, part.owner, sku, month_of(part.date), part.grant is not None)
            pools[key].append((part, sku, counted))
        charges = []
        for pool in pools.values():
            # Parts of one use that several grants cover stand in the order of the grants' names.
            pool.sort(
                key=lambda item: (
                    *(item[0].use.start, item[0].use.end, item[0].use.account, item[0].use.meter),
                    item[0].grant.key if item[0].grant else "",
                )
            )
            counter, total = Decimal(0), sum((part.quantity for part, *_ in pool), Decimal(0))
            for part, sku, counted in pool:
                prices = self._price(part, sku)
                low, top = sorted((counter, counter + part.quantity))
                counter += part.quantity
                position = low
                while position < top:
                    tiers = [tier_at(price, position, total) for price in prices]
                    if part.grant:  # a contract prices only usage beyond the grants
                        tiers[1] = None
                    end = min([top, *(tier[1] for tier in tiers if tier is not None and tier[1] is not None)])
                    charges.append(self._slice(part, sku, counted, prices, tiers, (low, position, end, top)))
                    position = end
        return charges

    def _slice(
        self,
        part: Part,
        sku: str,
        counted: str,
        prices: tuple[Price | None, Price | None],
        tiers: list[tuple[int, Decimal | None, Decimal] | None],
        span: tuple[Decimal, Decimal, Decimal, Decimal],
    ) -> Charge:
        low, start, end, top = span
        (listed, contract), (list_tier, contract_tier) = prices, tiers
        quantity = (end - start) * (1 if part.quantity > 0 else -1)
        share = nine(part.cost * (end - low) / (top - low)) - nine(part.cost * (start - low) / (top - low))
        price, tier = (contract, contract_tier) if contract and contract_tier else (listed, list_tier)
        if part.grant and part.grant.cost:
            currency = part.grant.currency or ""
        elif part.grant:  # a free one
            currency = contract.currency if contract else listed.currency if listed else (part.grant.currency or "USD")
        else:
            currency = price.currency if price else ""
        if part.grant:
            unit_price: Decimal | None = nine(PRECISE.divide(part.grant.cost or Decimal(0), part.grant.amount))
        else:
            unit_price = tier[2] if tier else None
        list_price = list_tier[2] if list_tier and listed and listed.currency == currency else unit_price
        by = price if part.grant is None else None
        billed = nine(quantity * unit_price) if part.grant is None and unit_price is not None else Decimal(0)
        use, meter = part.use, self.meters.get((part.use.provider, part.use.meter))
        return Charge(
            provider=use.provider,
            billing_account=part.owner,
            account=use.account,
            meter=use.meter,
            sku_id=sku,
            sku_price_id=f"{sku}/t{tier[0]}" if tier else None,
            grant_id=part.grant.grant_id if part.grant else None,
            charge_category="Usage",
            charge_period_start=use.start,
            charge_period_end=use.end,
            billing_month=month_of(part.date),
            quantity=quantity,
            unit=meter["unit"] if meter else "",
            list_unit_price=list_price,
            unit_price=unit_price,
            list_cost=nine(quantity * (list_price or Decimal(0))),
            contracted_cost=nine(quantity * (unit_price or Decimal(0))),
            billed_cost=billed,
            effective_cost=share if part.grant else billed,
            currency=currency,
            counted_sku_id=counted,
            price_source=None if by is None else "contract" if by is contract else "list",
            price_basis=by.basis if by else None,
            price_valid_from=by.valid_from if by else None,
            list_sku_price_id=f"{sku}/t{list_tier[0]}" if list_tier else None,
        )

    # Fees and purchases

    def _charged_fees(self) -> Iterator[Charge]:
        for provider, owner in self.pools:
            mine = [f for f in self.fees if (f.provider, f.billing_account) == (provider, owner)]
            for fee_id in sorted({fee.fee_id for fee in mine}):
                versions = sorted((f for f in mine if f.fee_id == fee_id), key=lambda f: f.valid_from)
                if versions[0].kind == "minimum":
                    for month in self.months[provider, owner]:
                        yield from self._shortfall(provider, owner, versions, month)
                elif versions[0].kind == "one_time":
                    for fee in versions:
                        if month_of(fee.valid_from) in self.months[provider, owner]:
                            start = datetime.combine(fee.valid_from, datetime.min.time(), UTC)
                            yield self._fee(fee, fee.amount, (start, start + timedelta(days=1)), month_of(fee.valid_from))
                else:
                    yield from self._recurring(provider, owner, versions)

    def _recurring(self, provider: str, owner: str, versions: list[Fee]) -> Iterator[Charge]:
        """Count the periods of a fee from its first day; after a gap, it restarts."""
        first, step = versions[0], 12 if versions[0].kind == "yearly" else 1
        for before, fee in zip([None, *versions], versions, strict=False):
            if before is None or before.valid_to != fee.valid_from:
                first = fee
            for count in range(0, self._months_since(provider, owner, first.valid_from), step):
                start, end = anniversary(first.valid_from, count), anniversary(first.valid_from, count + step)
                at_start = [f for f in versions if f.valid_from <= start < (f.valid_to or NEVER)]
                if at_start and at_start[0].prorate:
                    yield from self._by_days(fee, start, end)
                elif at_start == [fee]:
                    yield self._fee(fee, fee.amount, self._between(provider, owner, start, end), month_of(start))

    def _by_days(self, fee: Fee, start: date, end: date) -> Iterator[Charge]:
        """The share of the period's days on which this version of the fee is valid."""
        first, last, days = max(start, fee.valid_from), min(end, fee.valid_to or NEVER), (end - start).days
        if first < last and month_of(first) in self.months[fee.provider, fee.billing_account]:
            shares = [nine(fee.amount * (day - start).days / days) for day in (first, last)]
            period = self._between(fee.provider, fee.billing_account, first, last)
            yield self._fee(fee, shares[1] - shares[0], period, month_of(first))

    def _shortfall(self, provider: str, owner: str, versions: list[Fee], month: date) -> Iterator[Charge]:
        touching = [f for f in versions if f.valid_from < next_month(month) and month < (f.valid_to or NEVER)]
        if not touching or not self._is_complete(provider, owner, month):
            return
        fee = touching[0]
        used, key = Decimal(0), (provider, owner, fee.currency, month)
        for charge in self.usage:
            same = (charge.provider, charge.billing_account, charge.currency, charge.billing_month) == key
            if same and fee.sku_id in ("", charge.sku_id):
                used += charge.billed_cost - (self.credited.get(id(charge), Decimal(0)) if fee.after_credits else 0)
        amount = fee.amount - used
        if amount > 0:
            yield self._fee(fee, amount, self._period(provider, owner, month), month)

    def _fee(self, fee: Fee, amount: Decimal, period: tuple[datetime, datetime], month: date) -> Charge:
        sku, is_minimum = f"{fee.provider}/fee/{fee.fee_id}", fee.kind == "minimum"
        return Charge(
            provider=fee.provider,
            billing_account=fee.billing_account,
            account="",
            meter="",
            sku_id=sku,
            sku_price_id=None if is_minimum else sku,
            grant_id=None,
            charge_category="Adjustment" if is_minimum else "Purchase",
            charge_period_start=period[0],
            charge_period_end=period[1],
            billing_month=month,
            quantity=Decimal(1),
            unit="fee",
            list_unit_price=amount,
            unit_price=amount,
            list_cost=amount,
            contracted_cost=amount,
            billed_cost=amount,
            effective_cost=amount,
            currency=fee.currency,
        )

    def _purchases(self) -> Iterator[Charge]:
        for (provider, owner), grant_balances in self.grant_balances.items():
            for grant in (grant_balance.grant for grant_balance in grant_balances):
                month = month_of(grant.starts_on)
                if not grant.cost or month not in self.months[provider, owner]:
                    continue
                sku = f"{provider}/credits/{grant.grant_id}"
                price, list_price = nine(PRECISE.divide(grant.cost, grant.amount)), public_price(grant)
                is_exact = price * grant.amount == grant.cost
                starts = datetime.combine(grant.starts_on, datetime.min.time(), UTC)
                expires = datetime.combine(grant.expires_on, datetime.min.time(), UTC) if grant.expires_on else None
                yield Charge(
                    provider=provider,
                    billing_account=owner,
                    account="",
                    meter="",
                    sku_id=sku,
                    sku_price_id=sku if is_exact else None,
                    grant_id=grant.grant_id,
                    charge_category="Purchase",
                    charge_period_start=starts,
                    charge_period_end=expires or self._period(provider, owner, month)[1],
                    billing_month=month,
                    quantity=grant.amount,
                    unit=grant.unit,
                    list_unit_price=list_price if list_price is not None else price if is_exact else None,
                    unit_price=price if is_exact else None,
                    list_cost=grant.cost if list_price is None else nine(grant.amount * list_price),
                    contracted_cost=grant.cost,
                    billed_cost=grant.cost,
                    effective_cost=Decimal(0) if grant.unit in ("credit", grant.currency) else grant.cost,
                    currency=grant.currency or "",
                )

    def _expired(self, provider: str, owner: str) -> Iterator[Charge]:
        """What is left of a prepaid grant on its day of expiry, once the day before is complete for all accounts."""
        for balance in self.grant_balances[provider, owner]:
            grant, day = balance.grant, balance.grant.expires_on
            if (
                not balance.is_prepaid
                or day is None
                or balance.drawn == grant.amount
                or not self._is_over(provider, owner, day)
            ):
                continue
            price, start = nine(PRECISE.divide(grant.cost or Decimal(0), grant.amount)), midnight_of(day)
            quantity, listed = grant.amount - balance.drawn, public_price(grant)
            yield Charge(
                provider=provider,
                billing_account=owner,
                account="",
                meter="",
                sku_id=f"{provider}/credits/{grant.grant_id}",
                sku_price_id=f"{provider}/credits/{grant.grant_id}",
                grant_id=grant.grant_id,
                charge_category="Usage",
                charge_period_start=start,
                charge_period_end=start + timedelta(days=1),
                billing_month=month_of(day),
                quantity=quantity,
                unit=grant.unit,
                list_unit_price=price if listed is None else listed,
                unit_price=price,
                list_cost=nine(quantity * (price if listed is None else listed)),
                contracted_cost=nine(quantity * price),
                billed_cost=Decimal(0),
                effective_cost=(grant.cost or Decimal(0)) - balance.passed_on(),
                currency=grant.currency or "",
            )

    def _is_over(self, provider: str, owner: str, day: date) -> bool:
        """Whether all accounts are loaded up to the day, and every loaded UTC date of the day before is loaded in full.

        Also if no account has usage of the day before, because it was loaded from a later date only.
        """
        first, last = self._between(provider, owner, day - timedelta(days=1), day)
        accounts, zone = self._accounts(provider, owner), self._zone(provider, owner)
        if any(a.loaded_until.astimezone(zone).date() < day for a in accounts):
            return False
        dates = [first.date() + timedelta(days=n) for n in range(3) if midnight_of(first.date() + timedelta(days=n)) < last]
        touched = [
            (a, midnight_of(utc), midnight_of(utc) + timedelta(days=1))
            for a in accounts
            for utc in dates
            if a.loaded_from < midnight_of(utc) + timedelta(days=1) and midnight_of(utc) < a.loaded_until
        ]
        return all(a.loaded_from <= start and end <= a.loaded_until for a, start, end in touched)

    # What is derived of the charges

    def monthly(self) -> dict[tuple[Any, ...], tuple[Decimal, ...]]:
        """The costs of `cost_monthly`, by its grain."""
        return self._summed(lambda charge: charge.billing_month, self.charges())

    def daily(self) -> dict[tuple[Any, ...], tuple[Decimal, ...]]:
        """The costs of `cost_daily`: charges within a UTC day."""
        within = [c for c in self.charges() if c.charge_period_end <= midnight_after(c.charge_period_start)]
        return self._summed(lambda charge: charge.charge_period_start.date(), within)

    def _summed(self, date_of: Any, charges: list[Charge]) -> dict[tuple[Any, ...], tuple[Decimal, ...]]:
        sums: dict[tuple[Any, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 6)
        for c in charges:
            key = (
                c.provider, c.billing_account, c.account, c.sku_id, c.charge_category, date_of(c), c.unit, c.currency,
            )  # fmt: skip
            costs = (c.quantity, c.list_cost, c.contracted_cost, c.billed_cost, c.effective_cost, c.billed_cost)
            sums[key] = [total + cost for total, cost in zip(sums[key], costs, strict=True)]
        higher_priced = {
            row["highest_priced_sku_id"] for row in self.meters.values() if row["highest_priced_sku_id"] != row["sku_id"]
        } - {""}
        high: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
        usual: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
        for found, priced in ((high, [c for c in self.high if c.sku_id in higher_priced]), (usual, self.usage)):
            for c in priced:
                if c.currency:
                    found[
                        c.provider, c.billing_account, c.account, c.counted_sku_id, "Usage", date_of(c), c.unit, c.currency
                    ] += c.billed_cost
        additional = {key: max(cost - usual[key], Decimal(0)) for key, cost in high.items()}
        return {key: (*costs[:5], costs[5] + additional.get(key, 0)) for key, costs in sums.items()}

    def balances(self) -> Iterator[Balance]:
        """The balances of each day from the first grant on, over the grants that are valid on it."""
        for provider, owner in self.pools:
            grant_balances = [
                grant_balance
                for grant_balance in self.grant_balances[provider, owner]
                if grant_balance.grant.unit == "credit"
            ]
            if not grant_balances:
                continue
            parts = [part for part in self.parts if (part.use.provider, part.owner) == (provider, owner)]
            zone = self._zone(provider, owner)
            last = max(a.loaded_until.astimezone(zone).date() for a in self._accounts(provider, owner))
            day = min(grant_balance.grant.starts_on for grant_balance in grant_balances)
            used_on: list[Decimal] = []
            while day <= last:
                valid = {grant_balance.grant.key for grant_balance in grant_balances if grant_balance.is_valid(day)}
                granted = sum(
                    (grant_balance.grant.amount for grant_balance in grant_balances if grant_balance.grant.key in valid),
                    Decimal(0),
                )
                before = [part for part in parts if part.grant and part.grant.key in valid and part.date <= day]
                used = sum((part.quantity for part in before), Decimal(0))
                today = [part for part in parts if part.date == day]
                recent = sum(used_on[-28:], Decimal(0))
                left = PRECISE.divide((granted - used) * len(used_on[-28:]), recent) if recent > 0 else None
                on_date = sum((part.quantity for part in today), Decimal(0))
                overage = sum((part.quantity for part in today if part.grant is None), Decimal(0))
                yield Balance(
                    *(provider, owner, day, granted, used, granted - used, on_date, overage),
                    None if left is None else nine(left),
                    *self._balance_as_money(provider, owner, day, parts),
                )
                used_on.append(on_date)
                day += timedelta(days=1)

    def _balance_as_money(
        self, provider: str, owner: str, day: date, parts: list[Part]
    ) -> tuple[Decimal | None, str | None]:
        """The cost of all packs so far, less the effective cost of usage and of what expired."""
        costs: dict[str, Decimal] = defaultdict(Decimal)
        for balance in self.grant_balances[provider, owner]:
            if balance.is_prepaid and balance.grant.unit == "credit":
                costs[balance.grant.currency or ""] += (balance.grant.cost or Decimal(0)) * (balance.grant.starts_on <= day)
        for part in parts:
            if part.grant and part.cost and part.date <= day:
                costs[part.grant.currency or ""] -= part.cost
        for charge in self.expired:
            key = (charge.provider, charge.billing_account, charge.unit)
            if key == (provider, owner, "credit") and charge.charge_period_start.date() <= day:
                costs[charge.currency] -= charge.effective_cost
        left = {currency: cost for currency, cost in costs.items() if cost}
        if len(left) > 1:
            return None, None
        return sum(left.values(), Decimal(0)), max(left or costs, default=None)


class ClosedPeriods:
    """The charges after periods have closed. `frozen` has the uses at closing, and `present` the current ones.

    `closed` has the closed periods of each account, and `open_` the periods whose usage is frozen because a closed period
    depends on it. Prices, credits, fees and accounts are the current ones.
    """

    def __init__(
        self,
        frozen: Scenario,
        present: Scenario,
        closed: Mapping[tuple[str, str], list[tuple[date, date]]],
        open_: Mapping[tuple[str, str], list[tuple[date, date]]],
    ) -> None:
        self.closed, self.open = closed, open_
        self.computed = Calculator(present)
        uses = [use for use in frozen.uses if self._is_frozen(use)]
        uses += [use for use in present.uses if not self._is_frozen(use)]
        self.billed = Calculator(replace(present, uses=uses))

    def charges(self) -> list[Charge]:
        """Closed periods have the quantities that they were billed with, and all other charges the current quantities."""
        return [
            *(c for c in self.computed.charges() if not self._is_closed(c)),
            *(c for c in self.billed.charges() if self._is_closed(c)),
        ]

    def corrections(self) -> dict[tuple[Any, ...], tuple[Decimal, ...]]:
        """The current cost of closed periods minus their billed cost, and the day on which the difference is billed."""
        sums: dict[tuple[Any, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 5)
        for calculator, sign in ((self.computed, 1), (self.billed, -1)):
            for c in filter(self._is_closed, calculator.charges()):
                key = (c.provider, c.billing_account, c.account, c.meter, c.sku_id, c.charge_category,
                       c.charge_period_start, c.currency, c.billing_month, self._correction_day(c))  # fmt: skip
                costs = [sign * n for n in (c.quantity, c.list_cost, c.contracted_cost, c.billed_cost, c.effective_cost)]
                sums[key] = [total + cost for total, cost in zip(sums[key], costs, strict=True)]
        return {key: tuple(total) for key, total in sums.items() if any(total)}

    def _is_frozen(self, use: Use) -> bool:
        day, key = self.computed._day(use), (use.provider, use.account)
        return any(start <= day < end for start, end in [*self.closed.get(key, []), *self.open.get(key, [])])

    def _is_closed(self, charge: Charge) -> bool:
        if charge.charge_category == "Purchase":
            return False
        if charge.account:
            day, accounts = self.computed._day_of(charge), [charge.account]
        else:
            zone = self.computed._zone(charge.provider, charge.billing_account)
            start = charge.charge_period_start
            match charge.charge_category:
                case "Usage":  # credits that expire
                    day = start.date()
                case "Credit":
                    day = start.astimezone(zone).date()
                case _:
                    day = charge.billing_month
            accounts = self._accounts_of(charge)
        periods = [period for account in accounts for period in self.closed.get((charge.provider, account), [])]
        return any(start <= day < end for start, end in periods)

    def _accounts_of(self, charge: Charge) -> list[str]:
        key = (charge.provider, charge.billing_account)
        return [a.account for a in self.computed.scenario.accounts if (a.provider, a.billing_account) == key]

    def _correction_day(self, charge: Charge) -> date:
        """The first day after the closed month that no account of the billing account has closed."""
        periods = [p for account in self._accounts_of(charge) for p in self.closed.get((charge.provider, account), [])]
        day = next_month(charge.billing_month)
        while any(start <= day < end for start, end in periods):
            day += timedelta(days=1)
        return day


def public_price(grant: Grant) -> Decimal | None:
    """The public price of one unit of a grant on the day of its purchase, in the currency of its cost."""
    if grant.unit != "credit":
        return Decimal(1) if grant.unit == grant.currency else None
    for price in LIST:
        is_valid = price.valid_from <= grant.starts_on < (price.valid_to or NEVER)
        if is_valid and (price.sku_id, price.currency) == (f"{grant.provider}/credit", grant.currency):
            return price.tiers[0][2]
    return None


def midnight_of(day: date) -> datetime:
    """The start of the date in UTC."""
    return datetime.combine(day, datetime.min.time(), UTC)


def tier_at(price: Price | None, position: Decimal, total: Decimal) -> tuple[int, Decimal | None, Decimal] | None:
    """Number, end and price of the tier of the unit after `position`; with volume pricing, of the month's last unit."""
    if price is None:
        return None
    for number, (_, end, unit_price) in enumerate(price.tiers, 1):
        if price.model == "volume":
            if end is None or total <= end:
                return number, None, unit_price
        elif end is None or position < end:
            return number, end, unit_price
    raise AssertionError(price)


def anniversary(start: date, months: int) -> date:
    """The same day so many months later, or the last day of a shorter month."""
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))


def midnight_after(moment: datetime) -> datetime:
    """The end of the day."""
    return datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), moment.tzinfo)
