// Draws the page, and draws it again when the reader changes the filters or the theme.
const draw = () => {
  drawFilters();
  drawAttention();
  drawCards();
  drawForecast();
  drawBudgets();
  drawCurrency();
  drawOwners();
  drawDailyCosts();
  drawUsage();
  drawWeekChanges();
  drawCostChanges();
  drawBreakdown();
  drawCredits();
  drawInvoices();
  drawFreshness();
};

const drawFilters = () => {
  const accountOption = (account) => {
    const name = account.account || "(empty)";
    const label = selection.provider ? name : `${account.provider} · ${name}`;
    return option(accountKey(account), truncate(label, 60), accountKey(account) === selection.account);
  };
  setContent(
    "provider",
    option("", "All", selection.provider === ""),
    providers.map((provider) => option(provider, provider, provider === selection.provider)),
  );
  setContent(
    "account",
    option("", "All", selection.account === ""),
    accounts
      .filter((account) => selection.provider === "" || account.provider === selection.provider)
      .map(accountOption),
  );
  setContent(
    "period",
    report.periods.map(({ key, label }) => option(key, label, key === selection.period)),
  );
  byId("reset").hidden = selection.provider === "" && selection.account === "";
  const { start, end } = selectedPeriod();
  byId("selected-days").textContent = formatDays(start, addDays(end, -1));
};

// Theme: the system's, unless the reader chose another; the choice is kept in the browser's storage.
const root = document.documentElement;
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);
const THEME_KEY = "meterhouse-theme";
const storedTheme = () => {
  try {
    return localStorage.getItem(THEME_KEY);
  } catch {
    return null;
  }
};
const storeTheme = (theme) => {
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {
    // Browsers may refuse storage to a page that was opened from disk.
  }
};
const drawThemeButton = () => {
  const button = byId("theme");
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
  button.setAttribute("aria-pressed", String(isDark()));
};

const isEmpty = accounts.length === 0;
const redraw = () => {
  if (!isEmpty) draw();
};
const onThemeChange = () => {
  drawThemeButton();
  redraw();
};

const select = (change) => {
  Object.assign(selection, change);
  const { provider, account, period } = selection;
  const hash = new URLSearchParams(Object.entries({ provider, account, period }).filter(([, value]) => value));
  history.replaceState(null, "", `#${hash}`);
  draw();
  announce("The page shows the selection.");
};

const onChange = (id, listener) => byId(id).addEventListener("change", (event) => listener(event.target.value));
onChange("provider", (provider) => {
  const keepsAccount = selectedAccount()?.provider === provider;
  select({ provider, account: keepsAccount ? selection.account : "" });
});
onChange("account", (account) => select({ account }));
onChange("period", (period) => select({ period }));
byId("reset").addEventListener("click", () => {
  select({ provider: "", account: "" });
  byId("provider").focus();
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
onChange("meter", (meter) => {
  selection.meter = meter;
  drawUsage();
});
onChange("driver-group", (driverGroup) => {
  selection.driverGroup = driverGroup;
  drawDrivers(driverGroups());
});

onChange("cost-change", (costChange) => {
  selection.costChange = costChange;
  drawCostChanges();
});

byId("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  storeTheme(root.dataset.theme);
  onThemeChange();
});
systemIsDark.addEventListener("change", onThemeChange);

// Paper is white, so that the page prints in light colours.
let themeOnScreen = null;
window.addEventListener("beforeprint", () => {
  themeOnScreen = root.dataset.theme ?? "";
  root.dataset.theme = "light";
  redraw();
});
window.addEventListener("afterprint", () => {
  if (themeOnScreen) root.dataset.theme = themeOnScreen;
  else delete root.dataset.theme;
  redraw();
});

if (storedTheme()) root.dataset.theme = storedTheme();
drawThemeButton();
if (isEmpty) {
  root.dataset.empty = "true";
  setContent(
    "attention",
    element(
      "section",
      { class: "panel start" },
      element("h2", {}, "Nothing loaded yet"),
      element(
        "p",
        { class: "muted" },
        "Set the credentials of a provider, run ",
        element("code", {}, "meterhouse run"),
        ", then create this report again. ",
        element("code", {}, "meterhouse check"),
        " shows what is missing.",
      ),
    ),
  );
} else {
  draw();
}
Promise.all(pendingDrawings).then(() => {
  root.dataset.ready = "true";
});
