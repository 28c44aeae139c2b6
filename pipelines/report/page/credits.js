// Section "Credit balances".
const drawCredits = () => {
  const balances = report.credits.filter(isBillingSelected);
  drawCreditsByDay(balances);
  setContent("credits-table", creditsTable(balances));
};

const drawCreditsByDay = (balances) => {
  // Money would need an axis of its own.
  const inCredits = balances.filter((balance) => balance.unit === "credit");
  byId("credits-panel").hidden = !inCredits.some((balance) => balance.remaining_by_day.length > 1);
  const { start, end } = selectedPeriod();
  const shown = inCredits.slice(0, SERIES_COLORS);
  const isOnePerProvider = unique(shown.map((balance) => balance.provider)).length === shown.length;
  const points = shown.flatMap((balance, order) =>
    balance.remaining_by_day
      .map((remaining, position) => ({ remaining, date: addDays(balance.start, position) }))
      .filter(({ remaining, date }) => remaining !== null && date >= start && date < end)
      .map(({ remaining, date }) => ({
        date,
        day: formatWeekday(date),
        remaining,
        value: toFloat(remaining),
        text: formatQuantity(remaining, balance.unit),
        account: accountLabel(balance),
        name: truncate(accountLabel(balance)),
        color: isOnePerProvider ? providerColor(balance.provider) : seriesColor(order),
      })),
  );
  drawLegend(
    "credits-legend",
    shown.map((balance, order) => [
      accountLabel(balance),
      isOnePerProvider ? providerColor(balance.provider) : seriesColor(order),
      "line",
    ]),
  );
  if (shown.length) drawChart("credits-chart", "credits", { lines: points }, "Remaining credits by day.");
  drawChartData("credits-data", () =>
    table(
      "credit-days",
      "Remaining credits by day",
      [
        textColumn(
          "Day",
          (row) => row.date,
          (row) => row.day,
        ),
        textColumn("Account", (row) => row.account),
        numberColumn(
          "Remaining",
          (row) => row.remaining,
          (row) => row.text,
        ),
      ],
      [...points].reverse(),
    ),
  );
};

const creditsTable = (balances) => {
  const quantityColumn = (title, name) =>
    numberColumn(
      title,
      (row) => row[name],
      (row) => formatNumber(row[name]),
    );
  const runsOut = (row) => {
    if (exact.isZero(row.remaining)) return chip("none remaining", "bad");
    if (!row.runs_out_on) return element("span", { class: "muted" }, "not at this rate");
    const isSoon = daysBetween(report.today, row.runs_out_on) <= 30;
    return chip(formatDay(row.runs_out_on), isSoon ? "warn" : "good");
  };
  return table(
    "credits",
    "Credit balances",
    [
      accountColumn("Billing account"),
      textColumn("Unit", (row) => row.unit),
      textColumn(
        "Last 90 days",
        () => null,
        (row) => sparkline(row.remaining_by_day.slice(-90), providerColor(row.provider)) ?? "–",
      ),
      quantityColumn("Granted", "granted"),
      quantityColumn("Used", "used"),
      quantityColumn("Remaining", "remaining"),
      quantityColumn("Overage", "overage"),
      quantityColumn("Days left", "days_left"),
      textColumn("Runs out", (row) => row.runs_out_on, runsOut),
    ],
    balances,
    { empty: "No credit grants. Add them to billing/credit_grants.csv." },
  );
};
