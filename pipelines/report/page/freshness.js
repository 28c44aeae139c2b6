// Section "Data freshness".
const FRESHNESS_TONES = { fresh: "good", late: "warn" };
const FRESHNESS_ORDER = { "never loaded": 0, stale: 1, late: 2, fresh: 3 };
const GAP_TONES = { "never fetched": "bad", "partly fetched": "warn" };

const drawFreshness = () => {
  const rows = tableFreshness.filter(isSelected);
  byId("freshness-note").textContent = freshnessNote(rows);
  const timeColumn = (title, name) =>
    textColumn(
      title,
      (row) => row[name],
      (row) => formatTime(row[name]),
    );
  setContent(
    "freshness-table",
    table(
      "freshness",
      "Data freshness",
      [
        accountColumn(),
        textColumn("Table", (row) => row.resource),
        textColumn(
          "Status",
          (row) => row.status,
          (row) => chip(row.status, FRESHNESS_TONES[row.status] ?? "bad"),
        ),
        timeColumn("Complete until", "complete_until"),
        timeColumn("Last fetched", "last_fetched_at"),
        timeColumn("Loaded from", "loaded_from"),
      ],
      [...rows].sort((a, b) => FRESHNESS_ORDER[a.status] - FRESHNESS_ORDER[b.status]),
      { empty: "No table loaded." },
    ),
  );
  setContent(
    "gaps-table",
    element("h3", {}, "Gaps"),
    table(
      "gaps",
      "Days without data",
      [
        accountColumn(),
        textColumn("Table", (row) => row.resource),
        textColumn(
          "Kind",
          (row) => row.kind,
          (row) => chip(row.kind, GAP_TONES[row.kind] ?? "plain"),
        ),
        textColumn(
          "Dates",
          (row) => row.first_date,
          (row) => formatDays(row.first_date, row.last_date),
        ),
        numberColumn(
          "Days",
          (row) => String(row.days),
          (row) => formatNumber(String(row.days)),
        ),
      ],
      gaps.filter(isSelected),
      { empty: "No day is missing between the first and the last loaded day." },
    ),
    report.omitted_gaps ? element("p", { class: "sub" }, `${report.omitted_gaps} more are in usage_gaps.`) : null,
  );
  const countColumn = (title, name) =>
    numberColumn(
      title,
      (row) => String(row[name]),
      (row) => formatNumber(String(row[name])),
    );
  setContent(
    "restated-table",
    element("h3", {}, "Restated in the last week"),
    table(
      "restated",
      "Buckets that the vendors restated or withdrew, and the effect on the cost",
      [
        accountColumn(),
        textColumn(
          "Date",
          (row) => row.date,
          (row) => formatDay(row.date),
        ),
        countColumn("Buckets", "buckets"),
        countColumn("In closed periods", "closed_buckets"),
        numberColumn(
          "Cost change",
          (row) => row.cost_change,
          (row) => formatMoney(row.cost_change, row.currency, "exceptZero"),
        ),
      ],
      restated.filter(isSelected),
      { empty: "Nothing was restated." },
    ),
  );
};

const freshnessNote = (rows) => {
  const behind = rows.filter((row) => row.status !== "fresh").length;
  if (rows.length === 0) return "Nothing loaded yet.";
  if (behind) return `${behind} of ${plural(rows.length, "table")} not fresh.`;
  return rows.length === 1 ? "The only table is fresh." : `All ${rows.length} tables are fresh.`;
};
