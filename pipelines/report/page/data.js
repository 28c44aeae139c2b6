// The data of the report and the specifications of its charts, both JSON in the page.
const report = JSON.parse(document.getElementById("data").textContent);
const chartSpecs = JSON.parse(document.getElementById("specs").textContent);

// The rows of a table as objects; in the JSON they are arrays without names.
const rowsOf = (table) =>
  report[table].map((row) => Object.fromEntries(report.fields[table].map((field, index) => [field, row[index]])));

const accounts = rowsOf("accounts");
const forecasts = rowsOf("forecasts");
const weekChanges = rowsOf("week_changes");
const drivers = rowsOf("drivers");
const breakdown = rowsOf("breakdown");
const unpriced = rowsOf("unpriced");
const invoiceLines = rowsOf("invoice_lines");
const tableFreshness = rowsOf("freshness");
const gaps = rowsOf("gaps");
const restated = rowsOf("restated");
const budgets = rowsOf("budgets");
const converted = rowsOf("converted");
const ownerCosts = rowsOf("owner_costs");
const costChanges = rowsOf("cost_changes");

const unique = (list) => [...new Set(list)];

// In billing data, an empty account stands for the charges of the billing account as a whole.
const accountsByProvider = new Map();
for (const rows of [report.daily_costs, drivers, breakdown, weekChanges, accounts]) {
  for (const { provider, account } of rows) {
    if (!accountsByProvider.has(provider)) accountsByProvider.set(provider, new Set());
    if (account !== null && account !== "") accountsByProvider.get(provider).add(account);
  }
}
const providers = [...accountsByProvider.keys()].sort();
const hasSeveralAccounts = (provider) => accountsByProvider.get(provider)?.size > 1;
const accountLabel = ({ provider, account }) =>
  hasSeveralAccounts(provider) ? `${provider} · ${account || "billing account"}` : provider;

const lastMonth = report.periods.find((period) => period.key === "last-month").start;

// Sums by currency: a Map, because amounts in different currencies do not add up.
const sumByCurrency = (rows, amount) => {
  const sums = new Map();
  for (const row of rows) sums.set(row.currency, exact.sum([sums.get(row.currency) ?? null, amount(row)]));
  return sums;
};
const forecastOrCost = (row) => row.forecast ?? row.cost_to_date;
