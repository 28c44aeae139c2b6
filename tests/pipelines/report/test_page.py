"""The report in Chromium: what it shows and how it reacts, without a console message or a request."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.pipelines.report.conftest import SCENARIOS, ReportBrowser, WrittenReport
from tests.pipelines.report.marts import HOSTILE, MONTH

if TYPE_CHECKING:
    from playwright.sync_api import Page

COLOURS = """
    names => {
        const style = getComputedStyle(document.documentElement);
        return Object.fromEntries(names.map(name => [name, style.getPropertyValue("--" + name).trim()]));
    }
"""
DAYS = """
    with days as (
        select date, sum(billed_cost) as cost, bool_and(is_complete) as is_complete
        from usage.cost_daily
        where {where}
        group by date
    ),
    complete as (select date, cost::decimal(38, 12) as cost from days where is_complete)
    select cost, (select avg(cost) from complete where complete.date between days.date - 6 and days.date),
        (select avg(cost) from complete where complete.date between days.date - 27 and days.date)
    from days
    where date >= '2026-04-23'
    order by date desc
"""
THOROUGH = ("one provider", "50 accounts", "two years")
"""Scenarios that only the thorough tests open."""
WHERE = {"": "true", "reducto": "provider = 'reducto'", "reducto/east": "provider = 'reducto' and account = 'east'"}


@pytest.fixture
def small(reports: dict[str, WrittenReport]) -> WrittenReport:
    return reports["small"]


def query(written: WrittenReport, sql: str) -> Any:
    with duckdb.connect(str(written.database), read_only=True) as connection:
        return connection.sql(sql).fetchall()


def usd(amount: Decimal) -> str:
    return f"${amount.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


def signed_usd(amount: Decimal) -> str:
    """As a change, with a sign unless it is zero."""
    rounded = amount.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"{'+' if rounded > 0 else '-' if rounded < 0 else ''}{usd(abs(amount))}"


def cells(page: Page, holder: str) -> list[list[str]]:
    """The texts of a table's rows, including its totals."""
    texts: list[list[str]] = page.eval_on_selector_all(
        f"{holder} tbody tr, {holder} tfoot tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText.trim()))"
    )
    return texts


def exact(page: Page, selector: str) -> list[Decimal]:
    """The exact numbers of the elements."""
    texts = page.eval_on_selector_all(selector, "all => all.map(one => one.dataset.exact).filter(Boolean)")
    return [Decimal(text) for text in texts]


def test_shows_the_numbers_of_the_marts_under_every_filter(browser: ReportBrowser, small: WrittenReport) -> None:
    """The numbers of every filter equal the marts; the address keeps the filter, and one click clears it."""
    with browser.open(small.file) as page:
        page.select_option("#period", "28d")
        for provider, account in (("", ""), ("reducto", ""), ("reducto", "reducto/east")):
            page.select_option("#provider", provider)
            page.select_option("#account", account)
            check_numbers(page, small, WHERE[account or provider])
        fragment, cards_of_east = page.evaluate("location.hash"), exact(page, ".card .big")
        page.click("#reset")
        assert exact(page, ".card .big") != cards_of_east
        assert page.input_value("#provider") == ""
    with browser.open(small.file, anchor=fragment) as page:
        assert exact(page, ".card .big") == cards_of_east


def check_numbers(page: Page, small: WrittenReport, where: str) -> None:
    """Compares cards, totals, days with their averages, weeks and the breakdown with queries."""
    month, last = f"date '{MONTH}'", f"date '{MONTH}' - interval 1 month"
    cost = f"(select sum(cost_to_date) from usage.cost_forecast_monthly where {where} and billing_month = %s)"
    ((so_far, forecast, before, week, weeks),) = query(
        small,
        f"select {cost % month}, {(cost % month).replace('cost_to_date', 'forecast')},"
        f" {cost % last}, sum(billed_cost) filter (date >= '2026-05-13' and date < '2026-05-20'),"
        f" sum(billed_cost) filter (date >= '2026-05-06' and date < '2026-05-13') from usage.cost_daily where {where}",
    )
    assert exact(page, ".card .big") == [so_far, forecast, before, week]
    assert page.locator(".card .big").all_inner_texts() == [usd(value) for value in (so_far, forecast, before, week)]

    rows = query(
        small,
        "select provider, account, cost_to_date, forecast, forecast_low, forecast_high from usage.cost_forecast_monthly"
        f" where {where} and billing_month = {month} order by provider, account",
    )
    shown = cells(page, "#month-table")
    assert [(row[0].split(), *row[1:4]) for row in shown if not row[0].startswith("All")] == [
        ([provider_, account_], usd(cost_), usd(end), f"{usd(low)} – {usd(high)}")
        for provider_, account_, cost_, end, low, high in rows
    ]
    if len(rows) > 1:
        assert shown[-1][:3] == ["All (USD)", usd(so_far), usd(forecast)]
        assert cells(page, "#change-table .table")[-1][1:3] == [usd(weeks), usd(week)]

    budgets = query(
        small,
        "select budget, amount, actual, forecast from usage.budget_status_monthly"
        f" where {where} and month = {month} order by share_used desc",
    )
    assert [[row[0], row[1], row[2], row[5]] for row in cells(page, "#budgets-table")] == [
        [name, *map(usd, amounts)] for name, *amounts in budgets
    ]

    if not page.is_visible("#days-data table"):  # the table stays open when the filter changes
        page.click("#days-data summary")
    page.click("#days-data .table-actions button:has-text('Show all')")
    found = page.eval_on_selector_all(
        "#days-data tbody tr", "rows => rows.map(r => [...r.cells].slice(-4, -1).map(c => c.dataset.exact))"
    )
    sums = query(small, DAYS.format(where=where))
    assert [Decimal(row[0]) for row in found] == [row[0] for row in sums]
    for row, expected in zip(found, sums, strict=True):
        assert [float(value) for value in row[1:]] == pytest.approx([float(value) for value in expected[1:]], abs=1e-8)
    assert exact(page, "#days-note") == [sum(row[0] for row in sums)]

    total = query(small, f"select sum(billed_cost) from usage.cost_daily where {where} and date >= '2026-04-23'")[0][0]
    assert sum(exact(page, "#breakdown-panels td:nth-child(3)")) == total
    unpriced = query(small, f"select provider, account from usage.unpriced_usage where {where} order by all")
    assert [row[0].split() for row in cells(page, "#unpriced")] == [list(row) for row in unpriced]
    assert page.locator("#usage-table tbody tr").count() == 2 * len(unpriced)
    assert page.locator("#credits-table tbody tr").count() == len(unpriced)


def test_sums_money_exactly(browser: ReportBrowser, small: WrittenReport) -> None:
    """Sums and quotients equal those of Decimal, rounded half away from zero to nine decimal places."""
    numbers = ["0.1", "0.2", "-0.000000001", "9999999999999999999.999999999", "12345.6789", "-7", "0", "3"]
    with browser.open(small.file) as page, localcontext(prec=60):
        assert Decimal(page.evaluate("n => exact.sum(n)", numbers)) == sum(map(Decimal, numbers))
        assert page.evaluate("exact.sum([null, null])") is None
        found = page.evaluate(
            "n => n.map(a => n.map(b => [exact.ratio(a, b), exact.minus(a, b), exact.compare(a, b)]))", numbers
        )
        for x, row in zip(map(Decimal, numbers), found, strict=True):
            for y, (ratio, difference, order) in zip(map(Decimal, numbers), row, strict=True):
                assert Decimal(difference) == x - y
                assert order == (x > y) - (x < y)
                expected = (x / y).quantize(Decimal("1e-9"), ROUND_HALF_UP) if y else None
                assert ratio is None if expected is None else Decimal(ratio) == expected


@pytest.mark.thorough
def test_sorts_tables_by_keyboard_and_copies_exact_numbers(browser: ReportBrowser, small: WrittenReport) -> None:
    """Enter on a column heading sorts and informs screen readers; copied tables hold all digits."""
    with browser.open(small.file, permissions=["clipboard-read", "clipboard-write"]) as page:
        heading = page.locator("#month-table th button", has_text="So far")
        heading.focus()
        orders = []
        for _ in range(2):
            page.keyboard.press("Enter")
            orders.append(exact(page, "#month-table tbody td:nth-child(2)"))
            assert page.evaluate("document.activeElement.textContent") == "So far"
        assert orders[0] == sorted(orders[0], reverse=True)
        assert orders[1] == sorted(orders[0])
        assert page.get_attribute("#month-table th:nth-child(2)", "aria-sort") == "ascending"
        assert page.inner_text("#announcement") == "Sorted by So far"

        page.click("#month-table button:has-text('Copy')")
        page.wait_for_selector("#month-table button:text('Copied')")
        copied = [line.split("\t") for line in page.evaluate("navigator.clipboard.readText()").split("\n")]
        assert copied[0][:3] == ["Account", "So far", "Forecast"]
        assert [Decimal(line[1]) for line in copied[1:]] == orders[1]

        # Every chart has a table of its data.
        lacking = "all => all.filter(c => !c.closest('.panel').querySelector('details, table')).map(c => c.id)"
        assert page.eval_on_selector_all(".chart", lacking) == []
        unlabelled = "all => all.filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).length"
        assert page.eval_on_selector_all("select, button", unlabelled) == 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.thorough] * (name in THOROUGH)) for name in SCENARIOS]
)
def test_every_scenario_fits_the_screen(browser: ReportBrowser, reports: dict[str, WrittenReport], name: str) -> None:
    """No report is wider than a desktop or a phone, logs to the console, or executes a name."""
    with browser.open(reports[name].file, permissions=["clipboard-read", "clipboard-write"]) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 1280
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="dark")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("window.hacked") is None
        text = page.inner_text("body")
        assert not re.search(r"undefined|NaN|null|\[object|Infinity|1970", text.replace("null,", "")), text
        if name == "empty":
            assert "Nothing loaded yet" in text
        else:
            assert page.locator("#cost-by-day svg").count() == page.locator("#cost-by-month svg").count() == 1
            assert page.is_visible("#unpriced") == (name != "one provider")
        if name == "hostile names":
            page.click("#drivers-table button:has-text('Copy')")
            page.wait_for_selector("#drivers-table button:text('Copied')")
            assert "\n'=HYPERLINK(1)\t" in page.evaluate("navigator.clipboard.readText()")
            assert set(HOSTILE) <= set(page.locator("#month-table .name").all_text_contents())
            page.select_option("#account", f"mathpix/{HOSTILE[0]}")
            assert page.locator("#month-table tbody tr").count() == 1
        if name == "50 accounts":
            assert page.locator("#month-table tbody tr").count() == 12
            page.click("#month-table button:has-text('Show all 50')")
            assert page.locator("#month-table tbody tr").count() == 50


@pytest.mark.thorough
def test_both_themes_are_readable(browser: ReportBrowser, small: WrittenReport) -> None:
    """The system and the button both select the theme, and text has a contrast of at least 4.5 to 1 in each."""
    pairs = [
        (ink, ground) for ink in ("ink", "soft", "muted", "accent", "bad", "good") for ground in ("ground", "panel", "hover")
    ]
    pairs += [(tone, f"{tone}-ground") for tone in ("bad", "warn", "good")] + [
        ("soft", "bad-ground"),
        ("ink", "warn-ground"),
    ]
    seen = {}
    for theme in ("light", "dark"):
        with browser.open(small.file, theme=theme) as page:
            colours = page.evaluate(COLOURS, sorted({name for pair in pairs for name in pair}))
            for ink, ground in pairs:
                assert _contrast(colours[ink], colours[ground]) >= 4.5, (theme, ink, ground)
            before = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.click("#theme")
            after = page.evaluate("getComputedStyle(document.body).backgroundColor")
            seen[theme] = (before, after)
            page.emulate_media(reduced_motion="reduce")
            assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert seen["light"] == seen["dark"][::-1]
    assert seen["light"][0] != seen["light"][1]


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.thorough
def test_prints_and_blocks_foreign_scripts_and_requests(
    browser: ReportBrowser, small: WrittenReport, tmp_path: Path
) -> None:
    """The print has no controls; the Content Security Policy allows only the page's own scripts and no request."""
    with browser.open(small.file, theme="dark") as page:
        paper = tmp_path / "report.pdf"
        page.pdf(path=paper, format="A4")
        assert paper.stat().st_size > 30_000
        page.emulate_media(media="print")
        assert not page.is_visible(".bar")
        assert not page.is_visible("#month-table .table-actions button")
        page.emulate_media(media="screen")
        policy = page.get_attribute("meta[http-equiv='Content-Security-Policy']", "content") or ""
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "script-src 'sha256-" in policy
        assert "'unsafe-inline'" not in policy.split("style-src-attr")[0]
    image = "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/a.png\">')"
    script = "(s => { s.textContent = 'window.hacked = 1'; document.body.append(s); })(document.createElement('script'))"
    with pytest.raises(AssertionError, match="Content Security Policy"):
        _run(browser, small, image, script)


def _run(browser: ReportBrowser, small: WrittenReport, *scripts: str) -> None:
    with browser.open(small.file) as page:
        for script in scripts:
            page.evaluate(script)
        assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light")])
def test_shows_the_cost_by_owner(browser: ReportBrowser, reports: dict[str, WrittenReport], width: int, theme: str) -> None:
    """The section shows this month with its forecast, and the last month. It is hidden if nobody owns any cost."""

    def owned(where: str) -> list[list[str]]:
        rows = query(
            reports["small"],
            f"""
            select team, cost_centre, sum(cost_to_date) filter (billing_month = '{MONTH}'),
                sum(forecast) filter (billing_month = '{MONTH}'), sum(cost_to_date) filter (billing_month = '2026-04-01')
            from usage.cost_forecast_by_owner_monthly where {where} group by all order by team
            """,
        )
        return [[team, centre or "–", *map(usd, costs)] for team, centre, *costs in rows]

    with browser.open(reports["small"].file, width=width, theme=theme) as page:
        *rows, total = cells(page, "#owners-table")
        assert rows == owned("true")
        assert [row[0] for row in rows] == ["search", "unowned"]
        ((cost, forecast),) = query(
            reports["small"],
            f"select sum(cost_to_date), sum(forecast) from usage.cost_forecast_monthly where billing_month = '{MONTH}'",
        )
        assert total[:4] == ["All (USD)", "", usd(cost), usd(forecast)]
        page.select_option("#provider", "mathpix")
        assert cells(page, "#owners-table") == owned("provider = 'mathpix'")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    with browser.open(reports["empty"].file) as page:
        assert page.is_hidden("#owners")
        assert page.is_hidden("#to-owners")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_shows_what_changed(browser: ReportBrowser, reports: dict[str, WrittenReport], width: int, theme: str) -> None:
    """The last complete month and recent anomalies by volume, price and mix, and the values that drove a change."""
    amounts = (
        "sum(change), sum(volume_change), sum(price_change), sum(mix_change), sum(billed_cost_before), sum(billed_cost)"
    )

    def changed(where: str, *names: str) -> list[list[str]]:
        rows = query(
            reports["small"],
            f"select {', '.join((*names, amounts))} from usage.cost_drivers where {where} group by all"
            " order by min(period) desc, min(provider), min(account), min(position)",
        )
        return [[*row[: len(names)], *map(signed_usd, row[len(names) : -2]), *map(usd, row[-2:])] for row in rows]

    with browser.open(reports["small"].file, width=width, theme=theme) as page:
        rows = cells(page, "#cost-change-table")
        found = changed("dimension = 'sku'", "provider", "account", "period")
        assert [row[0].split() + row[2:] for row in rows] == [[provider, name, *row] for provider, name, _, *row in found]
        assert [row[1] for row in rows] == ["April 2026"] * 3 + ["16 May 2026"] * 3
        page.select_option("#provider", "mathpix")
        april = "period = 'month' and dimension = 'app_id' and provider = 'mathpix'"
        assert cells(page, "#cost-change-drivers") == [*changed(april, "value"), ["All (USD)", *changed(april)[0]]]
        page.select_option("#cost-change", label="16 May 2026 by app ID · mathpix (USD)")
        assert cells(page, "#cost-change-drivers")[:-1] == changed(april.replace("month", "day"), "value")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    with browser.open(reports["empty"].file) as page:
        assert page.is_hidden("#what-changed")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_shows_the_cost_of_all_currencies_in_the_reporting_currency(
    browser: ReportBrowser, reports: dict[str, WrittenReport], width: int, theme: str
) -> None:
    """Its sum is in the cards and under every filter, and by owner; a missing rate is a warning, and makes the sum unknown.

    Without a reporting currency there is no such section.
    """
    with browser.open(reports["currencies"].file, width=width, theme=theme) as page:
        rows = cells(page, "#currency-table")
        assert rows == [
            ["mathpix\ndefault", "€1,000.00", "–", "€1,000.00", "EUR", "1"],
            ["mathpix\ndefault", "€3,600.00", "€270.00", "$4,000.00", "USD", "0.9"],
            ["reducto\ndefault", "–", "–", "CHF\u00a030.00", "CHF", "–"],
            ["All (EUR)", "–", "€310.00", "", "", ""],
        ]
        assert [row[-1] for row in cells(page, "#owners-table")] == ["–", "€1,000.00", "€3,600.00"]
        assert "all in EUR: no rate" in page.locator(".card").first.inner_text()
        assert "No exchange rate CHF to EUR: 30.00 CHF, on 2026-05-04" in page.locator("#attention").inner_text()
        page.select_option("#provider", "mathpix")
        assert cells(page, "#currency-table")[-1][1] == "€4,600.00"
        assert "all in EUR: €4,600.00" in page.locator(".card").first.inner_text()
        page.select_option("#provider", "reducto")
        assert "all in EUR" not in page.locator(".card").nth(2).inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    with browser.open(reports["one day"].file) as page:
        assert page.is_hidden("#currency")
        assert page.is_hidden("#to-currency")
