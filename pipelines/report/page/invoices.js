// Section "Invoice reconciliation".
const INVOICE_TONES = {
  matched: "good",
  "within tolerance": "good",
  over: "bad",
  under: "warn",
  "missing usage": "bad",
};

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
        ? element("abbr", { title: "The month has unpriced usage, so the computed amount is too low." }, "*")
        : null,
    );
  setContent(
    "invoices-table",
    table(
      "invoices",
      "Computed and invoiced charges",
      [
        textColumn(
          "Month",
          (row) => row.billing_month,
          (row) => formatMonth(row.billing_month),
        ),
        accountColumn("Billing account"),
        textColumn("Line", (row) => row.line),
        moneyColumn("Computed", "computed"),
        moneyColumn("Invoiced", "invoiced"),
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
  const invoiced = rows.filter((row) => row.invoiced !== null).length;
  const counts = new Map();
  for (const { status } of rows) counts.set(status, (counts.get(status) ?? 0) + 1);
  const statuses = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  const since = report.invoice_lines_since ? ` Since ${formatMonth(report.invoice_lines_since)}.` : "";
  return `${plural(rows.length, "line")}, ${invoiced || "none"} invoiced: ${statuses}.${since}`;
};
