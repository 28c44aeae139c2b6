// Section "Week over week".
const isWeekComparable = (row) => row.previous_complete_days === 7 && row.current_complete_days === 7;

const costChange = (row) => (row.currency === null ? null : exact.minus(row.current_cost, row.previous_cost));

const drawWeekChanges = () => {
  const { previous_start: previousStart, start, end } = report.weeks;
  byId("changes-note").textContent =
    `${formatDays(start, addDays(end, -1))} compared with ${formatDays(previousStart, addDays(start, -1))}: ` +
    "the last 14 complete days.";
  const rows = weekChanges.filter((row) => isSelected(row) && (row.currency !== null || !isWeekComparable(row)));
  const change = (row) => (isWeekComparable(row) ? costChange(row) : null);
  const share = (row) => (change(row) === null ? null : exact.ratio(change(row), row.previous_cost));
  const comparable = rows.filter((row) => change(row) !== null);
  const totals = [...sumByCurrency(comparable, (row) => row.current_cost)].map(([currency, current]) => {
    const ofCurrency = comparable.filter((row) => row.currency === currency);
    const previous = exact.sum(ofCurrency.map((row) => row.previous_cost));
    const difference = exact.minus(current, previous);
    return {
      cells: [
        `All (${currency})`,
        formatMoney(previous, currency),
        formatMoney(current, currency),
        formatMoney(difference, currency, "exceptZero"),
        trend(exact.ratio(difference, previous)) ?? "–",
      ],
      exact: [null, previous, current, difference, null],
    };
  });
  const shareColumn = {
    ...numberColumn("Change in %", share, null),
    render: (row) =>
      isWeekComparable(row)
        ? (trend(share(row)) ?? "–")
        : chip(`${row.previous_complete_days + row.current_complete_days} of 14 days complete`, "warn"),
  };
  const groups = driverGroups();
  setContent(
    "change-table",
    table(
      "change",
      "Cost of the last two weeks",
      [
        accountColumn(),
        numberColumn(
          "Week before",
          (row) => row.previous_cost,
          (row) => formatMoney(row.previous_cost, row.currency),
        ),
        numberColumn(
          "Last week",
          (row) => row.current_cost,
          (row) => formatMoney(row.current_cost, row.currency),
        ),
        numberColumn("Change", change, (row) => formatMoney(change(row), row.currency, "exceptZero")),
        shareColumn,
      ],
      rows,
      { empty: "No cost in these two weeks.", totals: rows.length > 1 ? totals : [] },
    ),
    largestChanges(groups, (provider) => exact.sum(rows.filter((row) => row.provider === provider).map(change))),
  );
  drawDrivers(groups);
};

// The drivers by provider, dimension and unit; the group with the largest change in cost comes first.
const driverGroups = () => {
  const rows = drivers.filter(isInScope);
  const keyOf = (row) => JSON.stringify([row.provider, row.dimension, row.unit]);
  return unique(rows.map(keyOf))
    .map((key) => {
      const members = rows.filter((row) => keyOf(row) === key);
      const { provider, dimension, unit } = members[0];
      return {
        key,
        provider,
        dimension,
        unit,
        rows: members,
        hasCosts: members.some((row) => costChange(row) !== null),
        largest: Math.max(...members.map(absoluteChange)),
      };
    })
    .sort((a, b) => b.largest - a.largest || a.key.localeCompare(b.key));
};

const absoluteChange = (row) => Math.abs(toFloat(costChange(row) ?? "0"));

// For each provider the change of its cost, and the three values with the largest changes, each of another dimension.
const largestChanges = (groups, totalOf) => {
  const changed = groups.filter((group) => group.largest > 0);
  if (changed.length === 0) return null;
  const items = unique(changed.map((group) => group.provider)).map((provider) => {
    const values = changed
      .filter((group) => group.provider === provider)
      .slice(0, 3)
      .map((group) => group.rows.reduce((a, b) => (absoluteChange(b) > absoluteChange(a) ? b : a)));
    const total = totalOf(provider);
    const line = (row) =>
      element(
        "p",
        { class: "sub" },
        `${dimensionName(row.dimension)}: `,
        nameElement(row.value),
        ` ${formatMoney(costChange(row), row.currency, "exceptZero")}`,
      );
    return element(
      "li",
      {},
      dot(providerColor(provider)),
      element(
        "div",
        {},
        element("b", {}, provider),
        total === null ? "" : ` ${formatMoney(total, values[0].currency, "exceptZero")}`,
        values.map(line),
      ),
    );
  });
  return [element("h3", {}, "Largest changes"), element("ul", { class: "largest" }, items)];
};

const drawDrivers = (groups) => {
  if (!groups.some((group) => group.key === selection.driverGroup)) selection.driverGroup = groups[0]?.key ?? "";
  const chosen = groups.find((group) => group.key === selection.driverGroup);
  const label = ({ provider, dimension, unit, hasCosts }) =>
    `${provider} · ${dimensionName(dimension)}${hasCosts ? "" : `, ${unitName(unit ?? "use", "2")}`}`;
  setContent(
    "driver-group",
    groups.map((group) => option(group.key, label(group), group === chosen)),
  );
  byId("driver-group").parentElement.hidden = groups.length === 0;

  const rows = chosen?.rows ?? [];
  const quantityChange = (row) => exact.minus(row.current_quantity, row.previous_quantity);
  const change = (row) => (chosen.hasCosts ? costChange(row) : quantityChange(row));
  const formatCostChange = (row) => formatMoney(costChange(row), row.currency, "exceptZero");
  const formatChange = (row) =>
    chosen.hasCosts ? formatCostChange(row) : formatNumber(quantityChange(row), "exceptZero");
  const bars = rows
    .filter((row) => change(row) !== null)
    .map((row) => ({
      name: truncate(row.value || "(empty)", 32),
      value: toFloat(change(row)),
      text: formatChange(row),
      color: style(exact.isPositive(change(row)) ? "--up" : "--down"),
    }));
  drawChart("drivers", "drivers", { bars }, "Change by value.");
  setContent(
    "drivers-table",
    table(
      "drivers",
      "Drivers of the change",
      [
        textColumn(chosen ? dimensionName(chosen.dimension) : "Value", (row) => row.value),
        ...(chosen?.hasCosts ? [numberColumn("Change in cost", costChange, formatCostChange)] : []),
        numberColumn(
          "Week before",
          (row) => row.previous_quantity,
          (row) => formatNumber(row.previous_quantity),
        ),
        numberColumn(
          "Last week",
          (row) => row.current_quantity,
          (row) => formatNumber(row.current_quantity),
        ),
        textColumn("Unit", (row) => row.unit),
      ],
      rows,
      { empty: "No dimension changed, or fewer than two complete weeks are loaded." },
    ),
  );
};
