// Section "One currency": the cost of all currencies in the reporting currency; hidden if there is none.
const reportingCurrency = converted[0]?.reporting_currency ?? null;
const convertedOf = (month) => converted.filter((row) => isSelected(row) && row.billing_month === month);

// Null if a rate is missing, or if there is no cost.
const sumConverted = (rows) =>
  rows.some((row) => row.reporting_cost === null) ? null : exact.sum(rows.map((row) => row.reporting_cost));

const drawCurrency = () => {
  byId("currency").hidden = byId("to-currency").hidden = reportingCurrency === null;
  if (reportingCurrency === null) return;
  const rows = convertedOf(report.month);
  const month = formatMonth(report.month);
  const previous = convertedOf(lastMonth);
  byId("currency-note").textContent =
    rows.length === 0 ? `No cost in ${month} yet.` : `${month}: cost so far, in ${reportingCurrency}.`;
  const lastMonthCost = (row) =>
    previous.find(
      (other) => other.provider === row.provider && other.account === row.account && other.currency === row.currency,
    )?.reporting_cost ?? null;
  const inReporting = (amount) => formatMoney(amount, reportingCurrency);
  const total = sumConverted(rows);
  const totalBefore = sumConverted(previous);
  setContent(
    "currency-table",
    table(
      "currency",
      `Cost of ${month} in ${reportingCurrency}`,
      [
        accountColumn(),
        numberColumn(
          `In ${reportingCurrency}`,
          (row) => row.reporting_cost,
          (row) => inReporting(row.reporting_cost),
        ),
        numberColumn(formatMonthName(lastMonth), lastMonthCost, (row) => inReporting(lastMonthCost(row))),
        numberColumn(
          "Original",
          (row) => row.cost,
          (row) => formatMoney(row.cost, row.currency),
        ),
        textColumn("Currency", (row) => row.currency),
        numberColumn(
          "Average rate",
          (row) => exact.ratio(row.reporting_cost, row.cost),
          (row) => formatRate(exact.ratio(row.reporting_cost, row.cost)),
        ),
      ],
      rows,
      {
        empty: "No cost this month yet.",
        totals: rows.length
          ? [
              {
                cells: [`All (${reportingCurrency})`, inReporting(total), inReporting(totalBefore), "", "", ""],
                exact: [null, total, totalBefore, null, null, null],
              },
            ]
          : [],
      },
    ),
  );
};

const formatRate = (rate) => numberFormat({ maximumSignificantDigits: 6 }).format(rate);

// The total in the reporting currency, below the sums of a card; null if all cost is in the reporting currency.
const convertedLine = (month) => {
  const rows = convertedOf(month);
  if (rows.every((row) => row.currency === reportingCurrency)) return null;
  const total = sumConverted(rows);
  const text = total === null ? "no rate" : formatMoney(total, reportingCurrency);
  return element("p", { class: "also", "data-exact": total }, `all in ${reportingCurrency}: ${text}`);
};

const rateWarnings = () => report.missing_rates.map((text) => ["#currency", text[0].toUpperCase() + text.slice(1)]);
