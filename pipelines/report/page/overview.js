// The top of the page: what needs attention, and the cards with the totals.
const drawAttention = () => {
  const items = [
    ...budgetWarnings(),
    ...rateWarnings(),
    ...freshnessWarnings(),
    ...anomalyWarnings(),
    ...creditWarnings(),
    ...invoiceWarnings(),
  ];
  const links = items.map(([href, text]) => element("li", {}, element("a", { href }, text)));
  setContent(
    "attention",
    unpricedWarning(),
    items.length
      ? element("section", { class: "callout warn" }, element("h2", {}, "Needs attention"), element("ul", {}, links))
      : null,
  );
};

const unpricedWarning = () => {
  const rows = unpriced.filter(isSelected);
  if (rows.length === 0) return null;
  const thisMonth = rows.filter((row) => !exact.isZero(row.month_quantity)).length;
  return element(
    "section",
    { class: "callout bad", id: "unpriced", "aria-labelledby": "unpriced-title" },
    element("h2", { id: "unpriced-title" }, "Unpriced usage"),
    element(
      "p",
      {},
      `${listNames(rows.map(accountLabel))}: ${plural(rows.length, "meter")} with usage that has no price, ` +
        `${thisMonth || "none"} of them this month. No cost on this page includes this usage, so all totals are too low. ` +
        "Add a price or a credit grant to your billing files. If the meter is unknown, first map it to a SKU in skus.",
    ),
    table(
      "unpriced",
      "Unpriced usage",
      [
        accountColumn(),
        textColumn("Meter", (row) => row.meter),
        numberColumn(
          "This month",
          (row) => row.month_quantity,
          (row) => formatQuantity(row.month_quantity, row.unit, "uses"),
        ),
        numberColumn(
          "All time",
          (row) => row.quantity,
          (row) => formatQuantity(row.quantity, row.unit, "uses"),
        ),
        textColumn(
          "From",
          (row) => row.first_date,
          (row) => formatDay(row.first_date),
        ),
        textColumn(
          "To",
          (row) => row.last_date,
          (row) => formatDay(row.last_date),
        ),
        textColumn("Reason", (row) => row.reason),
      ],
      rows,
      { maxRows: 5 },
    ),
  );
};

// Warnings: the section that shows more, and the text.
const budgetWarnings = () => {
  const describe = (row) => {
    const problem = row.is_over ? "Over budget" : "Forecast over budget";
    const cost = formatMoney(row.is_over ? row.actual : row.forecast, row.currency);
    return `${problem}: ${listNames([row.budget])}, ${cost} of ${formatMoney(row.amount, row.currency)}`;
  };
  const problems = selectedBudgets().filter((row) => budgetTone(row) !== "good");
  const shown = problems.slice(0, 4).map(describe);
  if (problems.length > 4) shown.push(`${problems.length - 4} more over budget, or forecast to be`);
  return shown.map((text) => ["#budgets", text]);
};

const freshnessWarnings = () => {
  const warnings = [];
  const behind = tableFreshness.filter((row) => isSelected(row) && row.status !== "fresh");
  if (behind.length) {
    const names = listNames(behind.map((row) => `${accountLabel(row)} (${row.status})`));
    warnings.push(["#freshness", `${plural(behind.length, "table")} not fresh: ${names}`]);
  }
  const missing = gaps.filter((gap) => isSelected(gap) && gap.kind === "never fetched");
  if (missing.length) {
    const days = missing.reduce((sum, gap) => sum + gap.days, 0);
    warnings.push(["#freshness", `${plural(days, "day")} never fetched: ${listNames(missing.map(accountLabel))}`]);
  }
  return warnings;
};

const anomalyWarnings = () => {
  const describe = (meter) => {
    const direction = exact.isPositive(meter.score) ? "above" : "below";
    const deviations = `${formatNumber(exact.abs(meter.score))} deviations ${direction} normal`;
    return `${listNames([`${accountLabel(meter)} ${meter.meter}`])} (${deviations})`;
  };
  return [...anomaliesByDay(report.meters.filter(isSelected))]
    .filter(([day]) => day >= addDays(report.today, -7))
    .sort(([a], [b]) => b.localeCompare(a))
    .slice(0, 3)
    .map(([day, meters]) => {
      const others = meters.length > 3 ? ` and ${meters.length - 3} more` : "";
      const described = meters.slice(0, 3).map(describe).join(", ");
      return ["#usage", `Usage anomaly on ${formatDayOfMonth(day)}: ${described}${others}`];
    });
};

const creditWarnings = () =>
  report.credits
    .filter((row) => isBillingSelected(row) && row.runs_out_on && daysBetween(report.today, row.runs_out_on) <= 30)
    .map((row) => [
      "#credits",
      exact.isZero(row.remaining)
        ? `Credits of ${listNames([accountLabel(row)])}: none remaining`
        : `Credits of ${listNames([accountLabel(row)])} run out around ${formatDay(row.runs_out_on)}`,
    ]);

const invoiceWarnings = () => {
  const differing = invoiceLines.filter(
    (row) => isBillingSelected(row) && ["over", "under", "missing usage", "currency mismatch"].includes(row.status),
  );
  if (differing.length === 0) return [];
  return [["#invoices", `${plural(differing.length, "invoice line")} not matched by computed charges`]];
};

const trend = (share) => {
  if (share === null) return null;
  if (exact.isZero(share)) return element("span", { class: "trend" }, formatPercent(share));
  const [direction, arrow] = exact.isPositive(share) ? ["up", "▲"] : ["down", "▼"];
  return element("span", { class: `trend ${direction}` }, `${arrow} ${formatPercent(exact.abs(share))}`);
};

const drawCards = () => {
  const currency = mainCurrency();
  const month = formatMonthName(report.month);
  const previousMonth = formatMonthName(lastMonth);
  const now = forecastsOf(report.month);
  const previous = forecastsOf(lastMonth);
  const costToDate = (row) => row.cost_to_date;
  const forecastSums = sumByCurrency(now, forecastOrCost);
  const previousSums = sumByCurrency(previous, costToDate);
  const weeks = weekChanges.filter((row) => isSelected(row) && isWeekComparable(row) && row.currency !== null);
  const weekSums = sumByCurrency(weeks, (row) => row.current_cost);
  const previousWeekSums = sumByCurrency(weeks, (row) => row.previous_cost);

  const change = (sums, baseSums) => {
    const base = baseSums.get(currency);
    return sums.has(currency) && base ? trend(exact.ratio(exact.minus(sums.get(currency), base), base)) : null;
  };
  const note = (...content) => element("p", { class: "sub" }, ...content);
  const warning = (text) => element("p", { class: "sub warn" }, text);

  const unpricedProviders = unique(
    unpriced.filter((row) => isSelected(row) && !exact.isZero(row.month_quantity)).map((row) => row.provider),
  );
  const withoutForecast = now.filter((row) => row.forecast === null).length;
  const bound = (amount) =>
    formatMoney(sumByCurrency(now, (row) => amount(row) ?? row.cost_to_date).get(currency) ?? null, currency);
  const completeNote = previous.every((row) => row.is_final) ? "Final, completely loaded" : "Not completely loaded";
  const series = selectedDailyCosts().filter((each) => each.currency === currency);
  const fourWeeks = daysOf({ start: addDays(report.weeks.end, -28), end: report.weeks.end }).map((day) =>
    exact.sum(series.map((each) => costOn(each, day))),
  );

  setContent(
    "cards",
    card(
      `${month} so far`,
      sumByCurrency(now, costToDate),
      convertedLine(report.month),
      providerSplit(now, costToDate) ?? note("No cost yet."),
      unpricedProviders.length ? warning(`Excludes unpriced usage of ${unpricedProviders.join(", ")}`) : null,
    ),
    card(
      `${month}, forecast`,
      forecastSums,
      forecastSums.size ? note(`${bound((row) => row.forecast_low)} – ${bound((row) => row.forecast_high)}`) : null,
      providerSplit(now, forecastOrCost),
      note(change(forecastSums, previousSums), previousSums.size ? ` compared with ${previousMonth}` : ""),
      withoutForecast
        ? warning(`${plural(withoutForecast, "account")} without a forecast, included with the cost so far`)
        : null,
    ),
    card(
      previousMonth,
      previousSums,
      convertedLine(lastMonth),
      providerSplit(previous, costToDate),
      note(previous.length ? completeNote : "No cost"),
    ),
    card(
      "Last 7 complete days",
      weekSums,
      note(
        change(weekSums, previousWeekSums),
        previousWeekSums.size ? " compared with the week before" : "No two complete weeks yet",
      ),
      sparkline(fourWeeks, style("--accent")),
    ),
  );
};

// A card shows its main currency in large type, and the sums in other currencies below it.
const card = (title, sums, ...content) => {
  const currency = mainCurrency();
  const ordered = [...sums].sort(([a], [b]) => (a === currency ? -1 : b === currency ? 1 : a.localeCompare(b)));
  const [first, ...others] = ordered;
  return element(
    "article",
    { class: "card" },
    element("h2", {}, title),
    element("p", { class: "big", "data-exact": first?.[1] ?? null }, first ? formatMoney(first[1], first[0]) : "–"),
    others.map(([other, amount]) =>
      element("p", { class: "also", "data-exact": amount }, `and ${formatMoney(amount, other)}`),
    ),
    content.flat(),
  );
};

const providerSplit = (rows, amount) => {
  const currency = mainCurrency();
  const counted = rows.filter((row) => row.currency === currency);
  if (counted.length === 0) return null;
  const parts = unique(counted.map((row) => row.provider)).map((provider) => ({
    provider,
    cost: exact.sum(counted.filter((row) => row.provider === provider).map(amount)),
  }));
  const segment = ({ provider, cost }) => {
    const made = element("i");
    made.style.flexGrow = String(Math.max(0, toFloat(cost)));
    made.style.background = providerColor(provider);
    return made;
  };
  const line = ({ provider, cost }) =>
    element(
      "li",
      {},
      dot(providerColor(provider)),
      nameElement(provider),
      element("span", { "data-exact": cost }, formatMoney(cost, currency)),
    );
  return [
    element("div", { class: "split", "aria-hidden": "true" }, parts.map(segment)),
    element("ul", { class: "parts" }, parts.map(line)),
  ];
};
