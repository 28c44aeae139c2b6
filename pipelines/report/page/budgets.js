// Section "Budgets", which is hidden if there are none.
// A budget is shown if its scope includes the selection or a part of it; its amounts remain those of the whole scope.
const selectedBudgets = () => {
  const selected = selectedAccount();
  const provider = selected?.provider ?? selection.provider;
  return budgets.filter(
    (row) =>
      (provider === "" || row.provider === null || row.provider === provider) &&
      (!selected || row.account === null || row.account === selected.account),
  );
};

const budgetTone = (row) => {
  if (row.is_over) return "bad";
  return row.forecast !== null && exact.compare(row.forecast, row.amount) > 0 ? "warn" : "good";
};

const drawBudgets = () => {
  byId("budgets").hidden = byId("to-budgets").hidden = budgets.length === 0;
  const rows = selectedBudgets();
  const over = rows.filter((row) => row.is_over).length;
  byId("budgets-note").textContent =
    `${formatMonth(report.month)}: ` + (over ? `${over} of ${plural(rows.length, "budget")} exceeded.` : "none exceeded.");
  const moneyColumn = (title, name, sign) =>
    numberColumn(
      title,
      (row) => row[name],
      (row) => formatMoney(row[name], row.currency, sign),
    );
  const notes = (row) =>
    [
      row.other_currencies ? `cost in ${row.other_currencies}` : null,
      row.has_missing_cost ? "some cost missing" : null,
    ]
      .filter(Boolean)
      .join(", ") || null;
  setContent(
    "budgets-table",
    table(
      "budgets",
      "Budgets of the month",
      [
        textColumn("Budget", (row) => row.budget),
        moneyColumn("Amount", "amount"),
        moneyColumn("So far", "actual"),
        numberColumn(
          "Used",
          (row) => row.share_used,
          (row) => chip(formatPercent(row.share_used), budgetTone(row)),
        ),
        moneyColumn("Variance", "variance", "exceptZero"),
        moneyColumn("Forecast", "forecast"),
        textColumn("Cost", (row) => row.cost_type),
        textColumn("Not counted", notes),
      ],
      rows,
      { empty: "No budget for this selection." },
    ),
  );
};
