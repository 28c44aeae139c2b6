// Section "Invoice reconciliation".
const INVOICE_TONES = {
  matched: "good",
  "within tolerance": "good",
  over: "bad",
  under: "warn",
  "missing usage": "bad",
  "missing invoice": "warn",
  "not loaded whole": "warn",
  "currency mismatch": "bad",
};

const isWholeMonth = ({ billing_month, period_start, period_end }) =>
  period_start === billing_month && daysBetween(period_start, period_end) <= 31 && period_end.endsWith("-01");
const formatPeriod = (row) =>
  isWholeMonth(row) ? formatMonth(row.billing_month) : formatDays(row.period_start, addDays(row.period_end, -1));

const drawInvoices = () => {
  const rows = invoiceLines.filter(isBillingSelected);
  byId("invoices-note").textContent = invoicesNote(rows);
  const advice = (row) => report.advice[row.advice];
  const moneyColumn = (title, name, signDisplay) =>
    numberColumn(
      title,
      (row) => row[name],
      (row) => formatMoney(row[name], row.currency, signDisplay),
    );
  const status = (row) =>
    element(
      "span",
      { class: "nowrap", title: advice(row) },
      chip(row.status, INVOICE_TONES[row.status] ?? "plain"),
      row.has_unpriced_usage
        ? element("abbr", { title: "Some of this usage has no price, so the computed amount is too low." }, "*")
        : null,
    );
  setContent(
    "invoices-table",
    table(
      "invoices",
      "Computed and invoiced charges",
      [
        textColumn("Period", (row) => row.period_start, formatPeriod),
        billingAccountColumn(),
        textColumn("Invoice", (row) => row.invoice_id),
        textColumn("Line", (row) => row.line),
        moneyColumn("Computed", "computed"),
        moneyColumn("Invoiced without tax", "net"),
        moneyColumn("Difference", "difference", "exceptZero"),
        textColumn("Status", (row) => row.status, status),
        textColumn("What to do", advice, (row) => element("span", { class: "muted wraps" }, advice(row) || "–")),
      ],
      rows,
      { empty: "No cost and no invoice yet. Add invoices to billing/invoices.csv." },
    ),
  );
};

const invoicesNote = (rows) => {
  if (rows.length === 0) return "";
  const invoiced = rows.filter((row) => row.invoice_id !== null).length;
  const counts = new Map();
  for (const { status } of rows) counts.set(status, (counts.get(status) ?? 0) + 1);
  const statuses = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  const since = report.invoice_lines_since ? ` Since ${formatMonth(report.invoice_lines_since)}.` : "";
  return `${plural(rows.length, "line")}, ${invoiced || "none"} invoiced: ${statuses}.${since}`;
};
