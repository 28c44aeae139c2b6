// Section "Cost by owner", which is hidden if nobody owns any cost.
const drawOwners = () => {
  const hasOwners = ownerCosts.some((row) => row.team !== "unowned");
  byId("owners").hidden = byId("to-owners").hidden = !hasOwners;
  if (!hasOwners) return;
  const month = formatMonthName(report.month);
  byId("owners-note").textContent =
    `${formatMonth(report.month)}, by team and cost centre. Charges of more than a day, such as monthly fees, are unowned.`;
  const selected = ownerCosts.filter(isSelected);
  const keyOf = (row) => JSON.stringify([row.team, row.cost_centre, row.currency]);
  const rows = unique(selected.map(keyOf)).map((key) => {
    const own = selected.filter((row) => keyOf(row) === key);
    const sum = (name) => exact.sum(own.map((row) => row[name]));
    const forecast = own.some((row) => row.forecast === null) ? null : sum("forecast");
    const converted = own.some((row) => row.reporting_cost === null) ? null : sum("reporting_cost");
    return { ...own[0], cost: sum("cost"), forecast, previous_cost: sum("previous_cost"), reporting_cost: converted };
  });
  const moneyColumn = (title, name) =>
    numberColumn(
      title,
      (row) => row[name],
      (row) => formatMoney(row[name], row.currency),
    );
  const convertedColumns =
    reportingCurrency === null
      ? []
      : [
          numberColumn(
            `In ${reportingCurrency}`,
            (row) => row.reporting_cost,
            (row) => formatMoney(row.reporting_cost, reportingCurrency),
          ),
        ];
  const totals = currencies().flatMap((currency) => {
    const own = rows.filter((row) => row.currency === currency);
    if (own.length < 2) return [];
    const sums = ["cost", "forecast", "previous_cost"].map((name) =>
      own.some((row) => row[name] === null) ? null : exact.sum(own.map((row) => row[name])),
    );
    return [
      {
        cells: [`All (${currency})`, "", ...sums.map((sum) => formatMoney(sum, currency)), ...convertedColumns.map(() => "")],
        exact: [null, null, ...sums, ...convertedColumns.map(() => null)],
      },
    ];
  });
  setContent(
    "owners-table",
    table(
      "owners",
      "Cost by owner",
      [
        textColumn("Team", (row) => row.team),
        textColumn("Cost centre", (row) => row.cost_centre || null),
        moneyColumn(`${month} so far`, "cost"),
        moneyColumn("Forecast", "forecast"),
        moneyColumn(formatMonthName(lastMonth), "previous_cost"),
        ...convertedColumns,
      ],
      rows,
      { empty: "No cost for this selection.", totals },
    ),
  );
};
