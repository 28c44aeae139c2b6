// Section "Cost breakdown": a panel per provider, each by one dimension that the reader chooses.
// A choice is a dimension and a unit. SKUs of all units share a currency and are therefore one choice.
const choiceOf = ({ dimension, unit }) => (dimension === "sku" ? "sku" : `${dimension}\n${unit ?? ""}`);
const dimensionOf = (choice) => choice.split("\n")[0];

const drawBreakdown = () => {
  const rows = breakdown.filter((row) => row.period === selection.period && isInScope(row));
  const isPeriodLeftOut = selectedAccount() && rows.length === 0 && breakdown.some(isInScope);
  byId("breakdown-note").textContent = isPeriodLeftOut
    ? "With this many accounts, a single account has a breakdown of the last 28 days, this month and last month only."
    : `${selectedPeriod().label}. Every dimension shows the same usage; do not add them up.`;
  const panels = unique(rows.map((row) => row.provider))
    .sort()
    .map((provider) =>
      breakdownPanel(
        provider,
        rows.filter((row) => row.provider === provider),
      ),
    );
  setContent(
    "breakdown-panels",
    panels.length ? panels : element("p", { class: "empty" }, "No usage in this period."),
  );
};

const breakdownPanel = (provider, providerRows) => {
  const choices = breakdownChoices(providerRows);
  const rowsOfChoice = (choice) => providerRows.filter((row) => choiceOf(row) === choice);
  const preferred = selection.dimensions[provider];
  const chosen = choices.includes(preferred)
    ? preferred
    : (choices.find((choice) => rowsOfChoice(choice).length > 1) ?? choices[0]);
  const rows = rowsOfChoice(chosen).sort(
    (a, b) =>
      (a.value === null) - (b.value === null) ||
      exact.compare(b.cost ?? "0", a.cost ?? "0") ||
      exact.compare(b.quantity, a.quantity),
  );
  const isPartlyPriced = (row) => row.cost !== null && !exact.isZero(row.unpriced);
  return element(
    "div",
    { class: "panel", "data-provider": provider },
    element(
      "div",
      { class: "row" },
      element("h3", {}, dot(providerColor(provider)), provider),
      dimensionSelect(provider, choices, chosen),
    ),
    breakdownTable(provider, chosen, rows, isPartlyPriced),
    rows.some(isPartlyPriced)
      ? element("p", { class: "sub" }, "* Partly unpriced; the cost excludes that part.")
      : null,
    rows.some((row) => row.unit === "mixed")
      ? element("p", { class: "sub" }, "Mixed: the vendor counts several meters together, so some of these costs are estimates.")
      : null,
  );
};

// SKUs first. A dimension with several units only offers the units that have a cost, if any has one.
const breakdownChoices = (rows) => {
  const isPriced = (choice) => rows.some((row) => choiceOf(row) === choice && row.cost !== null);
  const choices = unique(rows.map((row) => row.dimension)).flatMap((dimension) => {
    const all = unique(rows.filter((row) => row.dimension === dimension).map(choiceOf));
    const priced = all.filter(isPriced);
    return priced.length ? priced : all;
  });
  return choices.sort((a, b) => (b === "sku") - (a === "sku") || a.localeCompare(b));
};

const dimensionSelect = (provider, choices, chosen) => {
  const label = (choice) => {
    const [dimension, unit] = choice.split("\n");
    const hasUnits = choices.filter((other) => dimensionOf(other) === dimension).length > 1;
    return dimensionName(dimension) + (hasUnits ? `, ${unitName(unit || "use", "2")}` : "");
  };
  const choose = (event) => {
    selection.dimensions[provider] = event.target.value;
    drawBreakdown();
    byId("breakdown")
      .querySelector(`[data-provider="${CSS.escape(provider)}"] select`)
      .focus();
  };
  return element(
    "select",
    { "aria-label": `Dimension of ${provider}`, onchange: choose },
    choices.map((choice) => option(choice, label(choice), choice === chosen)),
  );
};

const breakdownTable = (provider, choice, rows, isPartlyPriced) => {
  const amount = sharesAreOfCost(rows, choice) ? (row) => row.cost : (row) => row.quantity;
  const total = exact.sum(rows.map(amount));
  const share = (row) => exact.ratio(amount(row), total);
  const shareBar = (row) => {
    const bar = element("i");
    bar.style.width = `${Math.min(100, Math.max(0, (toFloat(share(row)) ?? 0) * 100))}%`;
    bar.style.background = providerColor(provider);
    return element(
      "span",
      { class: "share" },
      element("span", { class: "track", "aria-hidden": "true" }, bar),
      element("span", {}, formatPercent(share(row))),
    );
  };
  const cost = (row) => {
    const title = `${formatNumber(row.unpriced)} of the quantity is unpriced`;
    return element(
      "span",
      {},
      formatMoney(row.cost, row.currency),
      isPartlyPriced(row) ? element("abbr", { title }, "*") : null,
    );
  };
  const dimension = dimensionName(dimensionOf(choice));
  return table(
    `breakdown-${provider}-${choice}`,
    `${provider} by ${dimension}`,
    [
      textColumn(
        dimension,
        (row) => row.value ?? `${row.values} others`,
        (row) =>
          row.value === null ? element("span", { class: "muted" }, `${row.values} others`) : nameElement(row.value),
      ),
      numberColumn("Share", share, shareBar),
      numberColumn("Cost", (row) => row.cost, cost),
      numberColumn(
        "Quantity",
        (row) => row.quantity,
        (row) => element("span", { class: "nowrap" }, formatQuantity(row.quantity, row.unit)),
      ),
    ],
    rows,
  );
};

// Shares are of the cost if it is in one currency, is not zero, and, for SKUs, covers all usage; else of the quantity.
const sharesAreOfCost = (rows, choice) =>
  unique(rows.map((row) => row.currency).filter(Boolean)).length === 1 &&
  rows.every((row) => row.cost !== null || exact.isZero(row.quantity) || choice !== "sku") &&
  !exact.isZero(exact.sum(rows.map((row) => row.cost)));
