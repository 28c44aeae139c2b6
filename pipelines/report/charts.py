"""The charts of the report as Vega-Lite specifications without data; the page's scripts supply the named data sets.

Colours are columns of the data, so that a provider keeps its colour under every filter; the legend is plain HTML. All other
colours and fonts come from the style sheet, through Vega's `config`. Days are in UTC.
"""

import os
from typing import Any

if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path raises an error
    os.environ["HOME"] = "/"  # Altair needs a home directory; a container's user may have none

import altair as alt

DAY = alt.X("utcyearmonthdate(date):T").title(None).axis(grid=False, format="%-d %b", labelFlush=True, labelOverlap=True)
MIDDLE_OF_DAY = DAY.bandPosition(0.5)
"""The position of a line or a mark: the middle of the bar of its day."""
MONTH = alt.X("month:O").sort(None).title(None).axis(grid=False, labelAngle=0, labelOverlap=True).scale(paddingInner=0.35)
COLOR = alt.Color("color:N").scale(None)
AMOUNT = alt.Y("value:Q").title(None).axis(tickCount=4, format="~s")


def chart_specs() -> dict[str, dict[str, Any]]:
    """The specification of each chart by its name."""
    return {
        "cost-by-month": _spec(_stacked_bars(MONTH, corner_radius=2), height=220),
        "cost-by-day": _spec(alt.layer(_stacked_bars(DAY), _averages(), _anomalies()), height=280),
        "usage-by-day": _spec(alt.layer(_stacked_bars(DAY), _averages(), _anomalies()), height=240),
        "drivers": _spec(_drivers(), height=26),
        "credits": _spec(_balances(), height=220),
    }


def _stacked_bars(x: alt.X, *, corner_radius: int = 0) -> Any:
    """Stacked bars; those marked `faint` are incomplete days or forecasts."""
    return (
        alt.Chart(alt.NamedData(name="bars"))
        .mark_bar(cornerRadius=corner_radius)
        .encode(
            x,
            AMOUNT.stack("zero"),
            COLOR,
            order=alt.Order("order:Q"),
            opacity=alt.condition("datum.faint", alt.value(0.38), alt.value(1.0)),
            tooltip=[_tooltip("day", ""), _tooltip("name", " "), _tooltip("text", "amount")],
        )
    )


def _averages() -> Any:
    return (
        alt.Chart(alt.NamedData(name="averages"))
        .mark_line(strokeWidth=2, interpolate="monotone")
        .encode(
            MIDDLE_OF_DAY,
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
        .encode(MIDDLE_OF_DAY, AMOUNT, COLOR, tooltip=[_tooltip("day", ""), _tooltip("text", "anomaly")])
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
            tooltip=[_tooltip("name", ""), _tooltip("text", "change")],
        )
    )


def _balances() -> Any:
    return (
        alt.Chart(alt.NamedData(name="lines"))
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(
            DAY,
            AMOUNT,
            COLOR,
            detail="name:N",
            tooltip=[_tooltip("day", ""), _tooltip("name", " "), _tooltip("text", "remaining")],
        )
    )


def _tooltip(field: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:N").title(title)


def _spec(chart: Any, height: int) -> dict[str, Any]:
    sized = chart.properties(width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    spec: dict[str, Any] = sized.to_dict()
    return {
        key: value for key, value in spec.items() if key != "config"
    }  # without Altair's theme; the page supplies its own
