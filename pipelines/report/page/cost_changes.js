// Section "What changed", which is hidden if no two months can be compared and there is no recent anomaly.
const drawCostChanges = () => {
  byId("what-changed").hidden = byId("to-what-changed").hidden = costChanges.length === 0;
  if (costChanges.length === 0) return;
  byId("what-changed-note").textContent =
    "The last complete month against the month before, and each anomaly of the last 7 days against the last normal day of " +
    "its weekday. Volume: more or less usage. Price: other prices, tiers and credits. " +
    "Mix: a shift to cheaper or more expensive usage.";
  const rows = costChanges.filter(isSelected);
  const keyOf = ({ period, provider, account, date, currency, dimension }) =>
    JSON.stringify([period, provider, account, date, currency, dimension]);
  const groups = unique(rows.map(keyOf)).map((key) => {
    const members = rows.filter((row) => keyOf(row) === key);
    return { ...members[0], key, rows: members, ...sumOfChanges(members) };
  });
  const changes = groups.filter((group) => group.dimension === "sku");
  setContent(
    "cost-change-table",
    table(
      "cost-change",
      "Cost changes",
      [accountColumn(), textColumn("When", (row) => row.date, (row) => changeName(row)), ...changeColumns()],
      changes,
      { empty: "No change for this selection." },
    ),
  );
  drawChangeDrivers(groups);
};

const CHANGE_AMOUNTS = ["change", "volume_change", "price_change", "mix_change", "previous_cost", "cost"];

const signOf = (name) => (name.endsWith("cost") ? "auto" : "exceptZero");

const sumOfChanges = (rows) =>
  Object.fromEntries(CHANGE_AMOUNTS.map((name) => [name, exact.sum(rows.map((row) => row[name]))]));

const changeName = ({ period, date }) => (period === "month" ? formatMonth(date) : formatDate(date));

const changeColumns = () =>
  ["Change", "Volume", "Price", "Mix", "Before", "After"].map((title, position) => {
    const name = CHANGE_AMOUNTS[position];
    return numberColumn(
      title,
      (row) => row[name],
      (row) => formatMoney(row[name], row.currency, signOf(name)),
    );
  });

// The drivers of one change by one dimension. Initially, those of the largest change by a dimension other than the SKU.
const drawChangeDrivers = (groups) => {
  const size = (group) => Math.abs(toFloat(group.change));
  const sorted = [...groups].sort(
    (a, b) => (a.dimension === "sku") - (b.dimension === "sku") || size(b) - size(a) || a.key.localeCompare(b.key),
  );
  const chosen = sorted.find((group) => group.key === selection.costChange) ?? sorted[0];
  const label = (group) =>
    truncate(`${changeName(group)} by ${dimensionName(group.dimension)} · ${accountLabel(group)} (${group.currency})`, 70);
  setContent(
    "cost-change",
    sorted.map((group) => option(group.key, label(group), group === chosen)),
  );
  byId("cost-change").parentElement.hidden = sorted.length === 0;
  const sums = chosen && chosen.rows.length > 1 ? [chosen] : [];
  setContent(
    "cost-change-drivers",
    table(
      "cost-change-drivers",
      "Drivers of a change",
      [textColumn(chosen ? dimensionName(chosen.dimension) : "Value", (row) => row.value), ...changeColumns()],
      chosen?.rows ?? [],
      {
        empty: "No change for this selection.",
        totals: sums.map((sum) => ({
          cells: [
            `All (${sum.currency})`,
            ...CHANGE_AMOUNTS.map((name) => formatMoney(sum[name], sum.currency, signOf(name))),
          ],
          exact: [null, ...CHANGE_AMOUNTS.map((name) => sum[name])],
        })),
      },
    ),
  );
};
