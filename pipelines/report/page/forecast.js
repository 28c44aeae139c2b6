// Section "Month to date and forecast".
const drawForecast = () => {
  drawForecastTable();
  drawCostByMonth();
};

const drawForecastTable = () => {
  const rows = forecastsOf(report.month);
  const month = formatMonth(report.month);
  const withoutForecast = rows.filter((row) => row.forecast === null);
  byId("month-note").textContent =
    rows.length === 0
      ? `No cost in ${month} yet.`
      : `${month}: cost so far, and forecast for the whole month.` +
        (withoutForecast.length
          ? ` No forecast for ${listNames(withoutForecast.map(accountLabel))}; the totals use the cost so far.`
          : "");

  const likelyRange = (row) =>
    row.forecast === null || row.is_final
      ? null
      : `${formatMoney(row.forecast_low, row.currency)} – ${formatMoney(row.forecast_high, row.currency)}`;
  const lastMonthCost = (row) =>
    forecasts.find(
      (other) =>
        other.provider === row.provider &&
        other.account === row.account &&
        other.currency === row.currency &&
        other.billing_month === lastMonth,
    )?.cost_to_date ?? null;
  const totals = [...sumByCurrency(rows, (row) => row.cost_to_date)].map(([currency, cost]) => {
    const sum = (list, amount) => exact.sum(list.filter((row) => row.currency === currency).map(amount));
    const forecast = sum(rows, forecastOrCost);
    const previous = sum(forecastsOf(lastMonth), (row) => row.cost_to_date);
    const format = (amount) => (amount === null ? "" : formatMoney(amount, currency));
    return {
      cells: [`All (${currency})`, format(cost), format(forecast), "", format(previous), ""],
      exact: [null, cost, forecast, null, previous, null],
    };
  });
  setContent(
    "month-table",
    table(
      "month",
      `Cost of ${month}`,
      [
        accountColumn(),
        numberColumn(
          "So far",
          (row) => row.cost_to_date,
          (row) => formatMoney(row.cost_to_date, row.currency),
        ),
        numberColumn(
          "Forecast",
          (row) => row.forecast,
          (row) => formatMoney(row.forecast, row.currency),
        ),
        textColumn("Likely range", likelyRange, (row) =>
          element("span", { class: "nowrap" }, likelyRange(row) ?? "–"),
        ),
        numberColumn(formatMonthName(lastMonth), lastMonthCost, (row) =>
          formatMoney(lastMonthCost(row), row.currency),
        ),
        textColumn(
          "Basis",
          (row) => row.basis,
          (row) =>
            element(
              "span",
              { class: "muted wraps" },
              row.basis + (row.is_cut ? " · month not loaded from its start" : ""),
            ),
        ),
      ],
      rows,
      { empty: "No cost this month yet.", totals: rows.length > 1 ? totals : [] },
    ),
  );
};

const drawCostByMonth = () => {
  const currency = mainCurrency();
  const months = lastMonths();
  const selected = forecasts.filter((row) => isSelected(row) && months.includes(row.billing_month));
  const shown = selected.filter((row) => row.currency === currency);
  const { groupOf, colorOf, names } = groupByMonthCost(shown);
  const bars = [];
  for (const month of months) {
    for (const name of names) {
      const rows = shown.filter((row) => row.billing_month === month && groupOf(row) === name);
      const cost = exact.sum(rows.map((row) => row.cost_to_date));
      if (cost === null) continue;
      const bar = {
        date: month,
        month: formatAxisMonth(month),
        day: formatMonth(month),
        name: truncate(name),
        color: colorOf(name),
      };
      bars.push({ ...bar, value: toFloat(cost), text: formatMoney(cost, currency), faint: false, order: 0 });
      const remaining = exact.sum(
        rows.filter((row) => row.forecast !== null).map((row) => exact.minus(row.forecast, row.cost_to_date)),
      );
      if (remaining !== null && exact.isPositive(remaining)) {
        const text = `${formatMoney(remaining, currency)} more forecast`;
        bars.push({ ...bar, value: toFloat(remaining), text, faint: true, order: 1 });
      }
    }
  }
  const legend = [...names.map((name) => [name, colorOf(name)]), ["forecast", style("--muted"), "faint"]];
  drawLegend("month-legend", bars.length ? legend : []);
  drawChart(
    "cost-by-month",
    "cost-by-month",
    { bars },
    `Cost by month in ${currency}, this month with its forecast.`,
  );
  drawChartData("month-data", () =>
    table(
      "months",
      "Cost by month",
      [
        textColumn(
          "Month",
          (row) => row.billing_month,
          (row) => formatMonth(row.billing_month),
        ),
        accountColumn(),
        numberColumn(
          "Cost",
          (row) => row.cost_to_date,
          (row) => formatMoney(row.cost_to_date, row.currency),
        ),
        numberColumn(
          "Forecast",
          (row) => row.forecast,
          (row) => formatMoney(row.forecast, row.currency),
        ),
        textColumn("Basis", (row) => row.basis),
      ],
      [...selected].sort((a, b) => b.billing_month.localeCompare(a.billing_month)),
    ),
  );
};

// Groups rows by provider, or by account if there is only one provider with several; the smallest become one group.
const groupByMonthCost = (rows) => {
  const shownProviders = unique(rows.map((row) => row.provider));
  const byProvider = shownProviders.length > 1 || !shownProviders.some(hasSeveralAccounts);
  const keyOf = (row) => (byProvider ? row.provider : row.account);
  const costOf = (key) => toFloat(exact.sum(rows.filter((row) => keyOf(row) === key).map((row) => row.cost_to_date)));
  const keys = unique(rows.map(keyOf));
  const costs = new Map(keys.map((key) => [key, costOf(key)]));
  keys.sort((a, b) => costs.get(b) - costs.get(a));
  const named = byProvider || keys.length <= SERIES_COLORS ? keys : keys.slice(0, SERIES_COLORS - 1);
  const groupOf = (row) => (named.includes(keyOf(row)) ? keyOf(row) : `${keys.length - named.length} others`);
  const colorOf = (name) => {
    if (byProvider || keys.length === 1) return providerColor(byProvider ? name : rows[0].provider);
    return seriesColor(named.includes(name) ? named.indexOf(name) : SERIES_COLORS - 1);
  };
  return { groupOf, colorOf, names: unique(rows.map(groupOf)) };
};
