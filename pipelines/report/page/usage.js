// Section "Usage by day".
const meterKey = ({ provider, account, meter }) => JSON.stringify([provider, account, meter]);
const anomalyCount = (meter) => Object.keys(meter.anomalies).length;

const drawUsage = () => {
  const meters = report.meters.filter(isSelected);
  byId("usage-note").textContent = report.meters_since
    ? `Days before ${formatDay(report.meters_since)} are left out to keep this file small; see usage_trends_daily.`
    : "Each meter on its own, because different units do not add up.";
  if (!meters.some((meter) => meterKey(meter) === selection.meter)) selection.meter = defaultMeter(meters);
  const isChosen = (meter) => meterKey(meter) === selection.meter;
  const choose = (meter) => {
    selection.meter = meterKey(meter);
    drawUsage();
    byId("usage").scrollIntoView({ block: "start" });
    announce(`Showing ${meter.meter}`);
  };
  setContent(
    "meter",
    meters.map((meter) =>
      option(meterKey(meter), truncate(`${accountLabel(meter)} · ${meter.meter}`, 70), isChosen(meter)),
    ),
  );
  byId("meter").parentElement.hidden = meters.length === 0;
  setContent("usage-table", meterTable(meters, isChosen, choose));
  drawMeter(meters.find(isChosen));
};

// The meter with most anomalies; among equals one with a unit.
const defaultMeter = (meters) => {
  const order = (a, b) => anomalyCount(b) - anomalyCount(a) || (a.unit === null) - (b.unit === null);
  return meters.length ? meterKey([...meters].sort(order)[0]) : "";
};

const meterTable = (meters, isChosen, choose) => {
  const meterButton = (row) =>
    element(
      "button",
      { type: "button", class: "link", onclick: () => choose(row), "aria-pressed": String(isChosen(row)) },
      nameElement(row.meter),
    );
  const latestColumn = (title, name) =>
    numberColumn(
      title,
      (row) => row.latest[name],
      (row) => formatNumber(row.latest[name]),
    );
  return table(
    "usage",
    "Usage by meter",
    [
      accountColumn(),
      textColumn("Meter", (row) => row.meter, meterButton),
      textColumn(
        "Last 28 days",
        () => null,
        (row) => sparkline(row.quantities.slice(-28), providerColor(row.provider)) ?? "–",
      ),
      latestColumn("Last complete day", "quantity"),
      latestColumn("7-day average", "average_7d"),
      latestColumn("28-day average", "average_28d"),
      numberColumn(
        "Week over week",
        (row) => row.latest.week_over_week,
        (row) => formatPercent(row.latest.week_over_week, "exceptZero"),
      ),
      numberColumn(
        "Month to date",
        (row) => row.latest.month_to_date,
        (row) => formatQuantity(row.latest.month_to_date, row.unit),
      ),
      numberColumn(
        "Anomalies",
        (row) => String(anomalyCount(row)),
        (row) => (anomalyCount(row) ? chip(String(anomalyCount(row)), "bad") : "0"),
      ),
    ],
    meters,
    { empty: "No daily usage.", rowClass: (row) => (isChosen(row) ? "chosen" : null) },
  );
};

const drawMeter = (meter) => {
  if (!meter) {
    drawLegend("usage-legend", []);
    drawChart("usage-by-day", "usage-by-day", { bars: [] }, "");
    setContent("usage-data");
    return;
  }
  const coverage = report.coverage.find((each) => accountKey(each) === accountKey(meter));
  const incomplete = new Set(coverage?.incomplete);
  const isComplete = (day) => !incomplete.has(daysBetween(coverage.start, day));
  const position = (day) => daysBetween(meter.start, day);
  const valueOn = (values, day) => values[position(day)] ?? null;
  const quantityOn = (day) => valueOn(meter.quantities, day);
  const scoreOn = (day) => meter.anomalies[position(day)] ?? null;
  const days = daysOf(selectedPeriod()).filter(
    (day) => day >= meter.start && position(day) < meter.quantities.length,
  );
  const unit = meter.unit ?? "use";

  const bars = days
    .filter((day) => quantityOn(day) !== null)
    .map((day) => ({
      date: day,
      day: formatWeekday(day),
      value: toFloat(quantityOn(day)),
      text: formatQuantity(quantityOn(day), unit),
      name: truncate(meter.meter),
      color: providerColor(meter.provider),
      order: 0,
      faint: !isComplete(day),
    }));
  const averages7d = days.map((day) => valueOn(meter.averages_7d, day));
  const averages28d = days.map((day) => valueOn(meter.averages_28d, day));
  const marks = days
    .filter((day) => scoreOn(day) !== null)
    .map((day) => ({
      date: day,
      day: formatWeekday(day),
      value: toFloat(quantityOn(day)),
      text: `${formatNumber(scoreOn(day), "exceptZero")} deviations from normal`,
      color: style("--bad"),
    }));
  drawLegend("usage-legend", [
    [`${meter.meter}, ${unitName(unit, "2")}`, providerColor(meter.provider)],
    ...averageLegend(),
    ...(marks.length ? [["Anomaly", style("--bad"), "mark"]] : []),
  ]);
  drawChart(
    "usage-by-day",
    "usage-by-day",
    { bars, averages: averageLines(days, averages7d, averages28d, isComplete), anomalies: marks },
    `${meter.meter} by day, with 7-day and 28-day averages.`,
  );
  drawChartData("usage-data", () => {
    const valueColumn = (title, value) => numberColumn(title, value, (day) => formatNumber(value(day)));
    return table(
      "usage-days",
      `${truncate(meter.meter)} by day`,
      [
        textColumn("Day", (day) => day, formatWeekday),
        valueColumn("Quantity", quantityOn),
        valueColumn("7-day average", (day) => valueOn(meter.averages_7d, day)),
        valueColumn("28-day average", (day) => valueOn(meter.averages_28d, day)),
        valueColumn("Anomaly score", scoreOn),
      ],
      [...days].reverse(),
    );
  });
};
