// What the reader selected: a part of the address, so that a link opens the same view.
const selection = { provider: "", account: "", period: "90d", meter: "", driverGroup: "", costChange: "", dimensions: {} };

const accountKey = ({ provider, account }) => `${provider}/${account}`;

const address = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
if (providers.includes(address.get("provider"))) selection.provider = address.get("provider");
if (report.periods.some((period) => period.key === address.get("period"))) selection.period = address.get("period");
if (accounts.some((account) => accountKey(account) === address.get("account"))) {
  selection.account = address.get("account");
}

const selectedAccount = () =>
  selection.account === "" ? null : accounts.find((account) => accountKey(account) === selection.account);
const selectedPeriod = () => report.periods.find((period) => period.key === selection.period);

const isSelected = ({ provider, account }) => {
  const selected = selectedAccount();
  if (selected) return selected.provider === provider && (account === null || selected.account === account);
  return selection.provider === "" || selection.provider === provider;
};

// The same for rows of a billing account; an empty one stands for all billing accounts of a provider.
const isBillingSelected = ({ provider, account, billing_account = account }) => {
  const selected = selectedAccount();
  if (!selected) return isSelected({ provider, account: billing_account });
  return (
    selected.provider === provider &&
    ["", selected.account, ...selected.billing_accounts].includes(billing_account)
  );
};

// The same for tables that have rows for each account, and rows for all accounts of a provider, whose `account` is null.
const isInScope = ({ provider, account }) => {
  const selected = selectedAccount();
  if (!selected) return account === null && isSelected({ provider, account });
  if (selected.provider !== provider) return false;
  return account === selected.account || (account === null && !hasSeveralAccounts(provider));
};

const currencies = () =>
  unique([...forecasts, ...report.daily_costs].filter(isSelected).map((row) => row.currency)).sort();

// The currency of the charts and of the large amounts: that of most forecasts.
const mainCurrency = () => {
  const weight = (currency) => forecasts.filter((row) => isSelected(row) && row.currency === currency).length;
  return currencies().sort((a, b) => weight(b) - weight(a))[0] ?? null;
};

const forecastsOf = (month) => forecasts.filter((row) => isSelected(row) && row.billing_month === month);
