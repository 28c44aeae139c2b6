"""The charts of the page as Vega-Lite, without data: the page's script fills the named data sets in, as they are filtered.

Colours are columns of the data, so that a provider keeps its own whatever is filtered, and its legend is plain HTML. All
else that is colour or type comes from the style sheet, by way of Vega's `config`. Days are in UTC.
"""

from typing import Any

import altair as alt

DAY = alt.X("utcyearmonthdate(date):T").title(None).axis(grid=False, format="%-d %b", labelFlush=True, labelOverlap=True)
MIDDAY = DAY.bandPosition(0.5)
"""Where a line or a mark meets the bar of its day."""
MONTH = alt.X("month:O").sort(None).title(None).axis(grid=False, labelAngle=0, labelOverlap=True).scale(paddingInner=0.35)
COLOR = alt.Color("color:N").scale(None)
AMOUNT = alt.Y("value:Q").title(None).axis(tickCount=4, format="~s")


def specs() -> dict[str, dict[str, Any]]:
    """The specifications by the name of their place on the page."""
    return {
        "cost-by-month": _finished(_stack(MONTH, rounded=2), height=220),
        "cost-by-day": _finished(alt.layer(_stack(DAY), _averages(), _anomalies()), height=280),
        "usage-by-day": _finished(alt.layer(_stack(DAY), _averages(), _anomalies()), height=240),
        "drivers": _finished(_drivers(), height=26),
        "credits": _finished(_lines(), height=220),
    }


def _stack(x: alt.X, *, rounded: int = 0) -> Any:
    """Bars on top of each other; `faint` ones are of time that still runs, or is yet to come."""
    return (
        alt.Chart(alt.NamedData(name="bars"))
        .mark_bar(cornerRadius=rounded)
        .encode(
            x,
            AMOUNT.stack("zero"),
            COLOR,
            order=alt.Order("order:Q"),
            opacity=alt.condition("datum.faint", alt.value(0.38), alt.value(1.0)),
            tooltip=[_tip("day", ""), _tip("name", " "), _tip("text", "amount")],
        )
    )


def _averages() -> Any:
    return (
        alt.Chart(alt.NamedData(name="averages"))
        .mark_line(strokeWidth=2, interpolate="monotone")
        .encode(
            MIDDAY,
            AMOUNT,
            COLOR,
            detail="name:N",
            strokeDash=alt.StrokeDash("dash:N").scale(domain=["solid", "dashed"], range=[[1, 0], [6, 4]]).legend(None),
        )
    )


def _anomalies() -> Any:
    return (
        alt.Chart(alt.NamedData(name="anomalies"))
        .mark_point(shape="triangle-down", filled=True, size=90, opacity=1, yOffset=-9)
        .encode(MIDDAY, AMOUNT, COLOR, tooltip=[_tip("day", ""), _tip("text", "unusual")])
    )


def _drivers() -> Any:
    names = alt.Y("name:N").sort(None).title(None).axis(labelLimit=220, grid=False, ticks=False, domain=False)
    return (
        alt.Chart(alt.NamedData(name="bars"))
        .mark_bar(cornerRadius=2, height=14)
        .encode(
            alt.X("value:Q").title(None).axis(tickCount=5, format="~s"),
            names,
            COLOR,
            tooltip=[_tip("name", ""), _tip("text", "change")],
        )
    )


def _lines() -> Any:
    return (
        alt.Chart(alt.NamedData(name="lines"))
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(DAY, AMOUNT, COLOR, detail="name:N", tooltip=[_tip("day", ""), _tip("name", " "), _tip("text", "left")])
    )


def _tip(field: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:N").title(title)


def _finished(chart: Any, height: int) -> dict[str, Any]:
    finished = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    spec: dict[str, Any] = finished.to_dict()
    return {key: value for key, value in spec.items() if key != "config"}  # Altair's own theme, which the page's replaces
