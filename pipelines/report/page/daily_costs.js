// Section "Cost by day".
const costOn = (series, day) => {
  const position = daysBetween(series.start, day);
  return position < 0 ? null : (series.costs[position] ?? null);
};
const selectedDailyCosts = () => report.daily_costs.filter(isSelected);

// Tells whether a day is complete for all accounts of the series. A day before an account's first usage counts as complete.
const completeness = (series) => {
  const keys = new Set(series.map(accountKey));
  const covered = report.coverage
    .filter((coverage) => keys.has(accountKey(coverage)))
    .map((coverage) => ({ ...coverage, incomplete: new Set(coverage.incomplete) }));
  return (day) =>
    covered.every(({ start, days, incomplete }) => {
      const position = daysBetween(start, day);
      return position < 0 || (position < days && !incomplete.has(position));
    });
};

// For each day the average cost of the complete days among the last `length`, as in usage_trends_daily.
const movingAverages = (sums, isComplete, first, days, length) =>
  days.map((day) => {
    const amounts = [];
    for (let back = 0; back < length; back += 1) {
      const earlier = addDays(day, -back);
      if (earlier >= first && isComplete(earlier)) amounts.push(sums.get(earlier) ?? "0");
    }
    return amounts.length ? exact.ratio(exact.sum(amounts), String(amounts.length)) : null;
  });

// The series of each provider, or of each account if there is only one provider; the smallest accounts become one group.
const groupSeries = (series) => {
  const byProvider = unique(series.map((each) => each.provider)).length > 1;
  const members = new Map();
  for (const each of series) {
    const { provider, account } = each;
    const name = byProvider || !hasSeveralAccounts(provider) ? provider : account || "billing account";
    if (!members.has(name)) members.set(name, []);
    members.get(name).push(each);
  }
  const groups = [...members].map(([name, list]) => ({ name, series: list }));
  if (byProvider || groups.length === 1) {
    return groups.map((group) => ({ ...group, color: providerColor(group.series[0].provider) }));
  }
  const totals = new Map(
    groups.map((group) => [group, toFloat(exact.sum(group.series.flatMap((each) => each.costs)))]),
  );
  groups.sort((a, b) => totals.get(b) - totals.get(a));
  if (groups.length > SERIES_COLORS) {
    const others = groups.splice(SERIES_COLORS - 1);
    groups.push({ name: `${others.length} others`, series: others.flatMap((group) => group.series) });
  }
  return groups.map((group, position) => ({ ...group, color: seriesColor(position) }));
};

const sumByDay = (series) => {
  const sums = new Map();
  for (const { start, costs } of series) {
    costs.forEach((cost, position) => {
      const day = addDays(start, position);
      if (cost !== null) sums.set(day, exact.sum([sums.get(day) ?? null, cost]));
    });
  }
  return sums;
};

const anomaliesByDay = (meters) => {
  const found = new Map();
  for (const meter of meters) {
    for (const [position, score] of Object.entries(meter.anomalies)) {
      const day = addDays(meter.start, Number(position));
      if (!found.has(day)) found.set(day, []);
      found.get(day).push({ ...meter, score });
    }
  }
  return found;
};

const drawDailyCosts = () => {
  const currency = mainCurrency();
  const otherCurrencies = currencies().filter((other) => other !== currency);
  const all = selectedDailyCosts();
  const series = all.filter((each) => each.currency === currency);
  const groups = groupSeries(series);
  const isComplete = completeness(series);
  const first = series.map((each) => each.start).sort()[0] ?? report.today;
  const days = daysOf(selectedPeriod()).filter((day) => day >= first);
  const sums = sumByDay(series);
  const averages7d = movingAverages(sums, isComplete, first, days, 7);
  const averages28d = movingAverages(sums, isComplete, first, days, 28);
  const anomalies = anomaliesByDay(report.meters.filter(isSelected));

  const total = exact.sum(days.map((day) => sums.get(day) ?? null));
  byId("days-note").textContent =
    total === null
      ? "No daily cost."
      : `${formatMoney(total, currency)} in ${plural(daysBetween(days[0], days.at(-1)) + 1, "day")}, ` +
        `${formatDays(days[0], days.at(-1))}. Faint days are incomplete. Monthly charges are not included.` +
        (otherCurrencies.length ? ` Costs in ${otherCurrencies.join(", ")} are in the table.` : "");
  byId("days-note").dataset.exact = total ?? "";

  const costOfGroup = (group, day) => exact.sum(group.series.map((each) => costOn(each, day)));
  const bars = groups.flatMap((group, order) =>
    days
      .map((day) => ({ day, cost: costOfGroup(group, day) }))
      .filter(({ cost }) => cost !== null)
      .map(({ day, cost }) => ({
        date: day,
        day: formatWeekday(day),
        value: toFloat(cost),
        text: formatMoney(cost, currency),
        name: truncate(group.name),
        color: group.color,
        order,
        faint: !isComplete(day),
      })),
  );
  const marks = days
    .filter((day) => anomalies.has(day))
    .map((day) => ({
      date: day,
      day: formatWeekday(day),
      value: toFloat(sums.get(day) ?? "0"),
      text: anomalies
        .get(day)
        .map(({ provider, meter }) => truncate(`${provider} ${meter}`, 30))
        .join(", "),
      color: style("--bad"),
    }));
  const legend = [
    ...groups.map((group) => [group.name, group.color]),
    ...averageLegend(),
    ...(marks.length ? [["Usage anomaly", style("--bad"), "mark"]] : []),
  ];
  drawLegend("days-legend", total === null ? [] : legend);
  drawChart(
    "cost-by-day",
    "cost-by-day",
    { bars, averages: averageLines(days, averages7d, averages28d, isComplete), anomalies: marks },
    `Cost by day in ${currency}, with 7-day and 28-day averages.`,
  );

  drawChartData("days-data", () => {
    const positions = new Map(days.map((day, position) => [day, position]));
    const costIn = (day, other) =>
      other === currency
        ? (sums.get(day) ?? null)
        : exact.sum(all.filter((each) => each.currency === other).map((each) => costOn(each, day)));
    const rows = [...days]
      .reverse()
      .flatMap((day) =>
        [currency, ...otherCurrencies].map((other) => ({ day, currency: other, cost: costIn(day, other) })),
      )
      .filter((row) => row.cost !== null);
    const groupColumn = (group) =>
      numberColumn(
        truncate(group.name),
        (row) => costOfGroup(group, row.day),
        (row) => formatMoney(costOfGroup(group, row.day), currency),
      );
    const averageColumn = (title, averages) => {
      const average = (row) => (row.currency === currency ? averages[positions.get(row.day)] : null);
      return numberColumn(title, average, (row) => formatMoney(average(row), currency));
    };
    const anomalyNames = (row) =>
      anomalies
        .get(row.day)
        ?.map(({ provider, account, meter }) => `${provider} ${account} ${meter}`)
        .join(", ") ?? null;
    return table(
      "days",
      "Cost by day",
      [
        textColumn(
          "Day",
          (row) => row.day,
          (row) => formatWeekday(row.day),
        ),
        ...(otherCurrencies.length ? [] : groups.map(groupColumn)),
        numberColumn(
          "Cost",
          (row) => row.cost,
          (row) => formatMoney(row.cost, row.currency),
        ),
        averageColumn("7-day average", averages7d),
        averageColumn("28-day average", averages28d),
        textColumn("Anomaly", anomalyNames),
      ],
      rows,
    );
  });
};
