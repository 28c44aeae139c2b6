// Tables that can be sorted and copied. A column has a title; `value(row)`, the exact text that is sorted by and copied;
// and `render(row)`, the content of the cell.
const MAX_TABLE_ROWS = 12;
const sortOrders = new Map();

const numberColumn = (title, value, render) => ({
  title,
  value,
  render: (row) => (value(row) === null ? element("span", { class: "none" }, "–") : render(row)),
  isNumber: true,
});
const textColumn = (title, value, render = null) => ({
  title,
  value,
  render: render ?? ((row) => (value(row) === null ? "–" : nameElement(String(value(row))))),
  isNumber: false,
});
const accountColumn = (title = "Account") =>
  textColumn(title, (row) => `${row.provider} ${row.account ?? ""}`.trim(), renderAccount);

const billingAccountColumn = () =>
  textColumn(
    "Billing account",
    (row) => `${row.provider} ${row.billing_account}`.trim(),
    ({ provider, billing_account }) => renderAccount({ provider, account: billing_account || null }),
  );

const renderAccount = ({ provider, account }) =>
  element(
    "span",
    { class: "account" },
    dot(providerColor(provider)),
    element(
      "span",
      {},
      element("b", {}, provider),
      " ",
      account === null ? null : nameElement(account || "billing account"),
    ),
  );

// `totals` are rows of the foot: `cells` by column, and their `exact` numbers.
const table = (
  key,
  caption,
  columns,
  rows,
  { empty = "No data.", totals = [], rowClass = () => null, maxRows = MAX_TABLE_ROWS } = {},
) => {
  if (rows.length === 0) return element("p", { class: "empty" }, empty);
  const holder = element("div", { class: "table" });
  const draw = (showAll = false) => {
    const sorted = sortRows(key, columns, rows);
    // A few rows more than the limit are shown rather than hidden behind a button.
    const shown = showAll || sorted.length <= maxRows + 3 ? sorted : sorted.slice(0, maxRows);
    const sort = (position) => {
      const [current, descending] = sortOrders.get(key) ?? [null, false];
      sortOrders.set(key, [position, current === position ? !descending : columns[position].isNumber]);
      draw(showAll);
      holder.querySelectorAll("th button")[position].focus();
      announce(`Sorted by ${columns[position].title}`);
    };
    const content = element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, headRow(key, columns, sort)),
      element(
        "tbody",
        {},
        shown.map((row) => bodyRow(columns, row, rowClass(row))),
      ),
      totals.length
        ? element(
            "tfoot",
            {},
            totals.map((total) => totalRow(columns, total)),
          )
        : null,
    );
    const showAllButton =
      shown.length < sorted.length ? ghostButton(`Show all ${sorted.length}`, () => draw(true)) : null;
    const copyButton = ghostButton("Copy", (event) => copyTable(columns, sorted, event.target), {
      "aria-label": `Copy the table ${caption}`,
    });
    const count =
      shown.length < sorted.length ? `${shown.length} of ${sorted.length} rows` : plural(sorted.length, "row");
    holder.replaceChildren(
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, content),
      element("div", { class: "table-actions" }, element("span", {}, count), showAllButton, copyButton),
    );
  };
  draw();
  return holder;
};

const ghostButton = (label, onclick, attributes = {}) =>
  element("button", { type: "button", class: "ghost", onclick, ...attributes }, label);

// Rows without a value come last, in both directions.
const sortRows = (key, columns, rows) => {
  const [position, descending] = sortOrders.get(key) ?? [null, false];
  if (position === null) return rows;
  const { value, isNumber } = columns[position];
  return [...rows].sort((rowA, rowB) => {
    const a = value(rowA) ?? null;
    const b = value(rowB) ?? null;
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    const order = isNumber ? exact.compare(String(a), String(b)) : String(a).localeCompare(String(b));
    return descending ? -order : order;
  });
};

const headRow = (key, columns, sort) => {
  const [current, descending] = sortOrders.get(key) ?? [null, false];
  return element(
    "tr",
    {},
    columns.map((column, position) =>
      element(
        "th",
        {
          scope: "col",
          "aria-sort": current === position ? (descending ? "descending" : "ascending") : "none",
          class: column.isNumber ? "number" : null,
        },
        element("button", { type: "button", onclick: () => sort(position) }, column.title),
      ),
    ),
  );
};

const cell = (position, isNumber, exactNumber, content) =>
  element(
    position === 0 ? "th" : "td",
    { scope: position === 0 ? "row" : null, class: isNumber ? "number" : null, "data-exact": exactNumber },
    content,
  );

const bodyRow = (columns, row, className) =>
  element(
    "tr",
    { class: className },
    columns.map((column, position) =>
      cell(position, column.isNumber, column.isNumber ? column.value(row) : null, column.render(row)),
    ),
  );

const totalRow = (columns, total) =>
  element(
    "tr",
    {},
    columns.map((column, position) =>
      cell(position, column.isNumber, total.exact[position], total.cells[position] ?? ""),
    ),
  );

const copyTable = async (columns, rows, button) => {
  // A cell is one line. A text that a spreadsheet would take for a formula gets an apostrophe; a negative number does not.
  const oneLine = (text) => text.replace(/[\t\r\n]+/g, " ");
  const escapeFormula = (text) => text.replace(/^(?=[=+\-@\uff1d\uff0b\uff0d\uff20])/, "'");
  const cellText = (column, row) => {
    const text = oneLine(String(column.value(row) ?? ""));
    return column.isNumber ? text : escapeFormula(text);
  };
  const lines = rows.map((row) => columns.map((column) => cellText(column, row)).join("\t"));
  await writeToClipboard([columns.map((column) => column.title).join("\t"), ...lines].join("\n"));
  button.textContent = "Copied";
  announce(`Copied ${plural(rows.length, "row")}`);
  setTimeout(() => {
    button.textContent = "Copy";
  }, 1500);
};

const writeToClipboard = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers may refuse the clipboard to a page that was opened from disk.
    const area = element("textarea", { class: "hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
};
