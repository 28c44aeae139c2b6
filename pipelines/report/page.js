"use strict";
(() => {
  /* ---------- what the page knows ---------- */
  const page = JSON.parse(document.getElementById("data").textContent);
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const named = (name) => page[name].map((row) => Object.fromEntries(page.fields[name].map((field, at) => [field, row[at]])));
  const accounts = named("accounts"), forecasts = named("forecasts"), changes = named("changes"), drivers = named("drivers");
  const slices = named("slices"), unpriced = named("unpriced"), lines = named("lines"), sources = named("sources"), gaps = named("gaps");
  const billingAccounts = new Map(accounts.map((one) => [`${one.provider}\n${one.account}`, one.billing_accounts]));
  const several = new Map();
  for (const list of [page.costs, drivers, slices, changes, accounts]) {
    for (const { provider, account } of list) {
      if (!several.has(provider)) several.set(provider, new Set());
      if (account !== null && account !== "") several.get(provider).add(account);
    }
  }
  const providers = [...several.keys()].sort();

  /* ---------- small helpers ---------- */
  const byId = (id) => document.getElementById(id);
  const el = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") made.className = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  };
  const svg = (name, attributes = {}, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const fill = (id, ...children) => byId(id).replaceChildren(...children.flat().filter(Boolean));
  const unique = (list) => [...new Set(list)];
  const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
  const say = (text) => { byId("said").textContent = text; };
  /** A name from outside: it keeps to its own direction of writing, and is no longer than its place. */
  const nameOf = (text) => el("bdi", { class: text.length > 24 ? "name" : "name brief", title: text.length > 40 ? text : null }, text === "" ? "(empty)" : text);
  const short = (text, most = 40) => { const all = [...text]; return all.length > most ? `${all.slice(0, most - 1).join("")}…` : text; };

  /** Some of many names in a sentence, each kept to its own direction by the characters that isolate it. */
  const some = (list) => { const all = unique(list); return all.slice(0, 4).map((one) => `\u2068${short(one, 36)}\u2069`).join(", ") + (all.length > 4 ? ` and ${all.length - 4} more` : ""); };

  /* ---------- days, which are texts such as 2026-01-31 ---------- */
  const DAY = 86400000;
  const at = (day) => Date.parse(`${day}T00:00:00Z`);
  const plus = (day, days) => new Date(at(day) + days * DAY).toISOString().slice(0, 10);
  const between = (from, to) => Math.round((at(to) - at(from)) / DAY);
  const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const shortDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  const weekdayFormat = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const monthFormat = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });
  const axisMonth = new Intl.DateTimeFormat("en-GB", { month: "short", year: "2-digit", timeZone: "UTC" });
  const monthName = new Intl.DateTimeFormat("en-GB", { month: "long", timeZone: "UTC" });
  const showDay = (day) => (day ? dayFormat.format(at(day)) : "–");
  const showMonth = (day) => monthFormat.format(at(day));
  const showSpan = (from, last) => (from === last ? showDay(from) : `${shortDay.format(at(from))} – ${showDay(last)}`);
  const showTime = (time) => (time ? `${showDay(time.slice(0, 10))}, ${time.slice(11, 16)}` : "never");

  /* ---------- numbers, which are texts too ---------- */
  const formats = new Map();
  const format = (options) => {
    const key = JSON.stringify(options);
    if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en-US", options));
    return formats.get(key);
  };
  const tiny = (text) => { const value = exact.parse(exact.abs(text)); return value > 0n && value < 10000000n; };
  const money = (text, currency, sign = "auto") => {
    if (text === null) return "–";
    const digits = tiny(text) ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
    try {
      return format({ style: "currency", currency, currencyDisplay: "narrowSymbol", signDisplay: sign, ...digits }).format(text);
    } catch {
      return `${format({ signDisplay: sign, ...digits }).format(text)} ${currency || ""}`.trim();
    }
  };
  const count = (text, sign = "auto") =>
    text === null ? "–" : format({ maximumFractionDigits: tiny(text) ? 6 : 2, signDisplay: sign }).format(text);
  const percent = (text, sign = "auto") =>
    text === null ? "–" : format({ style: "percent", maximumFractionDigits: 1, signDisplay: sign }).format(text);
  const float = (text) => (text === null ? null : Number(text));

  /* ---------- what is chosen ---------- */
  const asked = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const state = { provider: "", account: "", period: "90d", meter: "", cut: "", dimension: {} };
  const knownPeriods = page.periods.map((period) => period.key);
  if (providers.includes(asked.get("provider"))) state.provider = asked.get("provider");
  if (knownPeriods.includes(asked.get("period"))) state.period = asked.get("period");
  if (accounts.some((one) => `${one.provider}/${one.account}` === asked.get("account"))) state.account = asked.get("account");
  const chosenAccount = () => (state.account === "" ? null : accounts.find((one) => `${one.provider}/${one.account}` === state.account));
  const period = () => page.periods.find((one) => one.key === state.period);
  const isShown = ({ provider, account }) => {
    const one = chosenAccount();
    if (one) return one.provider === provider && (account === null || one.account === account);
    return state.provider === "" || state.provider === provider;
  };
  /** The same for what belongs to billing accounts. */
  const isBilled = ({ provider, account }) => {
    const one = chosenAccount();
    if (!one) return isShown({ provider, account });
    return one.provider === provider && (one.account === account || billingAccounts.get(`${provider}\n${one.account}`).includes(account));
  };
  /** Of rows that are there for each account and for all: those of what is chosen. */
  const inScope = ({ provider, account }) => {
    const one = chosenAccount();
    if (!one) return account === null && isShown({ provider, account });
    if (one.provider !== provider) return false;
    return account === one.account || (account === null && several.get(provider).size === 1);
  };
  const label = ({ provider, account }) => (several.get(provider)?.size > 1 ? `${provider} · ${account || "as a whole"}` : provider);

  /* ---------- colours ---------- */
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const SERIES = 8;
  const colorOf = (position) => style(`--series-${(position % SERIES) + 1}`);
  const providerColor = (provider) => colorOf(Math.max(0, providers.indexOf(provider)));

  /* ---------- tables ---------- */
  const TABLE_ROWS = 12;
  const sorts = new Map();
  /** Columns: title, get (the exact text, or what is sorted by), show (what is seen), kind: text, number or bar. */
  const table = (key, caption, columns, rows, { empty = "Nothing here.", total = null, rowClass = null, most = TABLE_ROWS } = {}) => {
    if (rows.length === 0) return el("p", { class: "empty" }, empty);
    const holder = el("div", { class: "table" });
    const isNumber = (column) => column.kind === "number";
    const plainText = (column, row) => { const value = column.get(row); return value === null || value === undefined ? "" : String(value); };
    const draw = (all = false) => {
      const [by, down] = sorts.get(key) || [null, false];
      const sorted = by === null ? rows : [...rows].sort((a, b) => {
        const x = columns[by].get(a), y = columns[by].get(b);
        if (x === null || x === undefined || y === null || y === undefined) return (x ?? null) === (y ?? null) ? 0 : (x ?? null) === null ? 1 : -1;
        const order = isNumber(columns[by]) ? exact.compare(String(x), String(y)) : String(x).localeCompare(String(y));
        return down ? -order : order;
      });
      const shown = all || sorted.length <= most + 3 ? sorted : sorted.slice(0, most);
      const head = columns.map((column, position) => {
        const state_ = by === position ? (down ? "descending" : "ascending") : "none";
        const click = () => {
          const [now, wasDown] = sorts.get(key) || [null, false];
          sorts.set(key, now === position ? [position, !wasDown] : [position, isNumber(column)]);
          draw(all);
          holder.querySelectorAll("th button")[position].focus();
          say(`Sorted by ${column.title}`);
        };
        return el("th", { scope: "col", "aria-sort": state_, class: isNumber(column) ? "number" : null }, el("button", { type: "button", onclick: click }, column.title));
      });
      const body = shown.map((row) => el("tr", { class: rowClass ? rowClass(row) : null }, columns.map((column, position) => {
        const value = column.get(row), content = column.show ? column.show(row) : value === null ? "–" : nameOf(String(value));
        const cell = el(position === 0 ? "th" : "td", { scope: position === 0 ? "row" : null, class: isNumber(column) ? "number" : null, "data-exact": isNumber(column) && value !== null ? value : null }, content);
        return cell;
      })));
      const foot = total ? el("tfoot", {}, total.map((sums) => el("tr", {}, columns.map((column, position) => el(position === 0 ? "th" : "td", { scope: position === 0 ? "row" : null, class: isNumber(column) ? "number" : null, "data-exact": sums.exact?.[position] ?? null }, sums.cells[position] ?? ""))))) : null;
      const copy = async (event) => {
        // A cell is one line, and a name that looks like a formula is none.
        const clean = (text) => text.replace(/[\t\r\n]+/g, " "), safe = (text) => clean(text).replace(/^(?=[=+\-@\uff1d\uff0b\uff0d\uff20])/, "'");
        const grid = [columns.map((column) => column.title), ...sorted.map((row) => columns.map((column) => (isNumber(column) ? clean : safe)(plainText(column, row))))];
        await toClipboard(grid.map((one) => one.join("\t")).join("\n"));
        event.target.textContent = "Copied";
        say(`${plural(sorted.length, "row")} copied`);
        setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
      };
      const more = shown.length < sorted.length ? el("button", { type: "button", class: "ghost", onclick: () => draw(true) }, `Show all ${sorted.length}`) : null;
      holder.replaceChildren(
        el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body), foot ?? "")),
        el("div", { class: "under" }, el("span", {}, shown.length < sorted.length ? `${shown.length} of ${sorted.length} rows` : plural(sorted.length, "row")), more, el("button", { type: "button", class: "ghost", onclick: copy, "aria-label": `Copy the table ${caption}` }, "Copy")),
      );
    };
    draw();
    return holder;
  };
  const toClipboard = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a page from disk may not be let
      const area = el("textarea", { class: "hidden", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const chip = (text, tone) => el("span", { class: `chip ${tone}` }, text);
  const who = (row) => el("span", { class: "who" }, dot(providerColor(row.provider)), el("span", {}, el("b", {}, row.provider), " ", row.account === null ? null : nameOf(row.account || "as a whole")));
  const whoColumn = (title = "Account") => ({ title, get: (row) => `${row.provider} ${row.account ?? ""}`.trim(), show: who });
  const number = (title, get, show) => ({ title, kind: "number", get, show: (row) => (get(row) === null ? el("span", { class: "none" }, "–") : show(row)) });
  const text = (title, get, show = null) => ({ title, get, show });
  const dot = (color) => { const made = el("i", { class: "dot", "aria-hidden": "true" }); made.style.background = color; return made; };
  const behind = (id, make) => {
    const details = el("details", {}, el("summary", {}, "The table behind this chart"));
    details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(make()); });
    const wasOpen = byId(id).querySelector("details")?.open;
    fill(id, details);
    details.open = Boolean(wasOpen);
  };
  const legend = (id, items) => fill(id, items.map(([name, color, shape]) => {
    const mark = el("i", { class: `swatch ${shape || ""}`, "aria-hidden": "true" });
    mark.style.setProperty("--mark", color);
    return el("span", {}, mark, nameOf(short(name)));
  }));

  /* ---------- charts ---------- */
  const theme = () => {
    const ink = style("--muted"), line = style("--line"), font = style("--font");
    return {
      background: "transparent", font,
      axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, labelPadding: 6, tickSize: 0, domain: false },
      view: { stroke: null },
    };
  };
  /** Two weeks at least, so that a single day does not become a wall: a bar of nothing holds the place. */
  const pad = (bars) => {
    const dates = bars.map((bar) => bar.date).sort(), first = plus(dates.at(-1), -13);
    if (dates[0] > first) bars.push({ date: first, day: "", name: "", text: "", value: 0, color: "transparent", order: 0, faint: false });
  };
  /** The months that have bars, and so many before them that a bar does not become a wall. */
  const axisMonths = (bars) => {
    const first = bars.map((row) => row.date).sort()[0], all = thirteen();
    return all.slice(Math.min(all.indexOf(first), all.length - 6)).map((month) => axisMonth.format(at(month)));
  };
  const thirteen = () => [...Array(13).keys()].map((back) => { const day = new Date(at(page.month)); day.setUTCMonth(day.getUTCMonth() - 12 + back); return day.toISOString().slice(0, 10); });
  const drawn = new Map();
  const drawing = new Set();
  const chart = (id, name, data, description) => {
    const work = drawChart(id, name, data, description).finally(() => { drawing.delete(work); });
    drawing.add(work);
  };
  const drawChart = async (id, name, data, description) => {
    const holder = byId(id), former = drawn.get(id), round = (former?.round || 0) + 1;
    drawn.set(id, { ...former, round });
    if (!(data.bars ?? data.lines).length) {
      former?.view?.finalize();
      holder.replaceChildren(el("p", { class: "empty" }, "Nothing to draw for what is chosen."));
      return;
    }
    const spec = { ...structuredClone(specs[name]), datasets: data, description };
    spec.layer = spec.layer?.filter((one) => (data[one.data.name] || []).length > 0); // Vega warns of scales without data
    if (name === "cost-by-month") spec.encoding.x.scale.domain = axisMonths(data.bars);
    if (name === "drivers") spec.height = data.bars.length * 26;
    if (name.endsWith("by-day")) pad(data.bars);
    const box = el("div", { class: "vega" });
    // Vega measures its place, so it has to be on the page already; the former chart stays until the new one is there.
    box.style.position = former?.view ? "absolute" : "";
    holder.append(box);
    const made = await vegaEmbed(box, spec, {
      actions: false, renderer: "svg", ast: true, config: theme(), defaultStyle: false,
      tooltip: { disableDefaultStyle: true, theme: "page" }, loader: { target: "_self", http: {} },
    });
    if (drawn.get(id).round !== round) { made.finalize(); box.remove(); return; }
    former?.view?.finalize();
    box.style.position = "";
    holder.replaceChildren(box);
    drawn.set(id, { view: made, round });
  };
  const spark = (values, color) => {
    const known = values.map((value) => float(value) ?? 0), top = Math.max(...known, 0), low = Math.min(...known, 0);
    if (known.length < 2 || top === low) return null;
    const points = known.map((value, x) => `${(x / (known.length - 1)) * 100},${26 - ((value - low) / (top - low)) * 24}`).join(" ");
    const made = svg("svg", { viewBox: "0 0 100 28", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true", focusable: "false" },
      svg("polygon", { points: `0,28 ${points} 100,28`, class: "area" }), svg("polyline", { points, class: "line" }));
    made.style.color = color;
    return made;
  };

  /* ---------- cost by day ---------- */
  const costOn = (series, day) => { const position = between(series.start, day); return position < 0 ? null : series.costs[position] ?? null; };
  /** Whether a day is whole for all of these accounts; one that had not begun, or whose usage is not told by the day, is no matter. */
  const wholeness = (series) => {
    const wanted = new Set(series.map((one) => `${one.provider}\n${one.account}`));
    const covers = page.coverage.filter((one) => wanted.has(`${one.provider}\n${one.account}`)).map((one) => ({ ...one, holes: new Set(one.incomplete) }));
    return (day) => covers.every((one) => {
      const position = between(one.start, day);
      return position < 0 || (position < one.days && !one.holes.has(position));
    });
  };
  /** The average cost of the whole days among `length`, up to and with `day`: what `usage_trends_daily` does with usage. */
  const averages = (sums, isWhole, first, days, length) => days.map((day) => {
    const among = [];
    for (let back = 0; back < length; back += 1) {
      const one = plus(day, -back);
      if (one >= first && isWhole(one)) among.push(sums.get(one) ?? "0");
    }
    return among.length ? exact.ratio(exact.sum(among), String(among.length)) : null;
  });
  const costSeries = () => page.costs.filter(isShown);
  const currencies = () => unique([...forecasts.filter(isShown).map((one) => one.currency), ...page.costs.filter(isShown).map((one) => one.currency)]).sort();
  const mainCurrency = () => {
    const weight = (currency) => forecasts.filter((one) => isShown(one) && one.currency === currency).length;
    return currencies().sort((a, b) => weight(b) - weight(a))[0] ?? null;
  };
  const daysOf = ({ start, end }) => Array.from({ length: Math.max(0, between(start, end)) }, (_, back) => plus(start, back));

  /** The parts that a day is drawn of: providers, or the accounts of one. The smallest are put together. */
  const groupsOf = (series) => {
    const byProvider = unique(series.map((one) => one.provider)).length > 1;
    const groups = new Map();
    for (const one of series) {
      const name = byProvider || several.get(one.provider).size < 2 ? one.provider : one.account || "as a whole";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(one);
    }
    let parts = [...groups].map(([name, members]) => ({ name, members }));
    if (byProvider || parts.length === 1) return parts.map((part) => ({ ...part, color: providerColor(part.members[0].provider) }));
    const weight = new Map(parts.map((part) => [part, float(exact.sum(part.members.flatMap((one) => one.costs)))]));
    parts.sort((a, b) => weight.get(b) - weight.get(a));
    if (parts.length > SERIES) parts = [...parts.slice(0, SERIES - 1), { name: `${parts.length - SERIES + 1} others`, members: parts.slice(SERIES - 1).flatMap((part) => part.members) }];
    return parts.map((part, position) => ({ ...part, color: colorOf(position) }));
  };

  const drawDays = () => {
    const currency = mainCurrency(), all = costSeries(), series = all.filter((one) => one.currency === currency);
    const parts = groupsOf(series), isWhole = wholeness(series);
    const first = series.map((one) => one.start).sort()[0] ?? page.today;
    const days = daysOf(period()).filter((day) => day >= first);
    const sums = new Map();
    for (const one of series) one.costs.forEach((cost, position) => {
      if (cost !== null) { const day = plus(one.start, position); sums.set(day, exact.sum([sums.get(day) ?? null, cost])); }
    });
    const bars = [], marks = [];
    parts.forEach((part, order) => days.forEach((day) => {
      const cost = exact.sum(part.members.map((one) => costOn(one, day)));
      if (cost !== null) bars.push({ date: day, day: weekdayFormat.format(at(day)), value: float(cost), text: money(cost, currency), name: short(part.name), color: part.color, order, faint: !isWhole(day) });
    }));
    const week = averages(sums, isWhole, first, days, 7), month = averages(sums, isWhole, first, days, 28);
    const curve = (values, name, color, dash) => days.map((day, position) => ({ date: day, value: float(values[position]), name, color, dash })).filter((row) => row.value !== null && isWhole(row.date));
    const unusual = anomaliesByDay(page.meters.filter(isShown));
    for (const day of days) {
      if (unusual.has(day)) marks.push({ date: day, day: weekdayFormat.format(at(day)), value: float(sums.get(day) ?? "0"), text: unusual.get(day).map((one) => short(`${one.provider} ${one.meter}`, 30)).join(", "), color: style("--bad") });
    }
    const lines_ = [...curve(week, "7-day average", style("--ink"), "solid"), ...curve(month, "28-day average", style("--muted"), "dashed")];
    const total = exact.sum(days.map((day) => sums.get(day) ?? null));
    const others = currencies().filter((one) => one !== currency);
    byId("days-note").textContent = total === null ? "No cost by the day." : `${money(total, currency)} in ${plural(between(days[0], days.at(-1)) + 1, "day")}, ${showSpan(days[0], days.at(-1))}. Faint days are not whole yet; charges of a whole month are not in it.${others.length ? ` ${others.join(", ")} is in the table.` : ""}`;
    byId("days-note").dataset.exact = total ?? "";
    legend("days-legend", total === null ? [] : [...parts.map((part) => [part.name, part.color]), ["7-day average", style("--ink"), "line"], ["28-day average", style("--muted"), "line dashed"], ...(marks.length ? [["Unusual usage", style("--bad"), "mark"]] : [])]);
    chart("cost-by-day", "cost-by-day", { bars, averages: lines_, anomalies: marks }, `Cost by day in ${currency}, with its 7- and 28-day averages.`);
    behind("days-behind", () => {
      const position = new Map(days.map((day, index) => [day, index]));
      const rows = [...days].reverse().flatMap((day) => unique([currency, ...others]).map((one) => ({ day, currency: one, cost: one === currency ? sums.get(day) ?? null : exact.sum(all.filter((other) => other.currency === one).map((other) => costOn(other, day))) })).filter((row) => row.cost !== null));
      return table("days", "Cost by day", [
        text("Day", (row) => row.day, (row) => weekdayFormat.format(at(row.day))),
        ...(others.length ? [] : parts.map((part) => number(short(part.name), (row) => exact.sum(part.members.map((one) => costOn(one, row.day))), (row) => money(exact.sum(part.members.map((one) => costOn(one, row.day))), currency)))),
        number("Cost", (row) => row.cost, (row) => money(row.cost, row.currency)),
        number("7-day average", (row) => (row.currency === currency ? week[position.get(row.day)] : null), (row) => money(week[position.get(row.day)], currency)),
        number("28-day average", (row) => (row.currency === currency ? month[position.get(row.day)] : null), (row) => money(month[position.get(row.day)], currency)),
        text("Unusual", (row) => (unusual.get(row.day) || []).map((one) => `${one.provider} ${one.account} ${one.meter}`).join(", ")),
      ], rows);
    });
  };
  const anomaliesByDay = (meters) => {
    const found = new Map();
    for (const meter of meters) for (const [position, score] of Object.entries(meter.anomalies)) {
      const day = plus(meter.start, Number(position));
      if (!found.has(day)) found.set(day, []);
      found.get(day).push({ ...meter, score });
    }
    return found;
  };

  /* ---------- this month ---------- */
  const lastMonth = page.periods.find((one) => one.key === "last-month").start;
  const ofMonth = (month) => forecasts.filter((one) => isShown(one) && one.billing_month === month);
  const sumsBy = (rows, get) => {
    const found = new Map();
    for (const row of rows) found.set(row.currency, exact.sum([found.get(row.currency) ?? null, get(row)]));
    return found;
  };
  const drawMonth = () => {
    const now = ofMonth(page.month), currency = mainCurrency();
    const without = now.filter((one) => one.forecast === null);
    byId("month-note").textContent = now.length === 0 ? `Nothing was billed in ${showMonth(page.month)} yet.` : `${showMonth(page.month)}, billed so far and at its end.${without.length ? ` No forecast for ${some(without.map(label))}: the totals hold what it has cost so far.` : ""}`;
    const bounds = (row) => (row.forecast === null || row.is_final ? null : `${money(row.forecast_low, row.currency)} – ${money(row.forecast_high, row.currency)}`);
    const totals = [...sumsBy(now, (row) => row.cost_to_date)].map(([one, cost]) => {
      const mine = now.filter((row) => row.currency === one), forecast = exact.sum(mine.map((row) => row.forecast ?? row.cost_to_date));
      const before = exact.sum(ofMonth(lastMonth).filter((row) => row.currency === one).map((row) => row.cost_to_date));
      return { cells: [`All (${one})`, money(cost, one), money(forecast, one), "", before === null ? "" : money(before, one), ""], exact: [null, cost, forecast, null, before, null] };
    });
    const before = (row) => forecasts.find((one) => one.provider === row.provider && one.account === row.account && one.currency === row.currency && one.billing_month === lastMonth)?.cost_to_date ?? null;
    fill("month-table", table("month", `Cost of ${showMonth(page.month)}`, [
      whoColumn(),
      number("So far", (row) => row.cost_to_date, (row) => money(row.cost_to_date, row.currency)),
      number("Forecast", (row) => row.forecast, (row) => money(row.forecast, row.currency)),
      text("Likely range", bounds, (row) => el("span", { class: "nowrap" }, bounds(row) ?? "–")),
      number(monthName.format(at(lastMonth)), before, (row) => money(before(row), row.currency)),
      text("How", (row) => row.basis, (row) => el("span", { class: "muted wraps" }, row.basis + (row.is_cut ? " · loaded from within the month" : ""))),
    ], now, { empty: "No cost in this month yet.", total: now.length > 1 ? totals : null }));

    const months = thirteen();
    const shown = forecasts.filter((one) => isShown(one) && one.currency === currency && months.includes(one.billing_month));
    const byProvider = unique(shown.map((one) => one.provider)).length > 1 || shown.every((one) => several.get(one.provider).size < 2);
    const keys = unique(shown.map((one) => (byProvider ? one.provider : one.account)));
    const weight = new Map(keys.map((key) => [key, float(exact.sum(shown.filter((one) => (byProvider ? one.provider : one.account) === key).map((one) => one.cost_to_date)))]));
    keys.sort((a, b) => weight.get(b) - weight.get(a));
    const named_ = byProvider || keys.length <= SERIES ? keys : keys.slice(0, SERIES - 1);
    const partOf = (row) => { const key = byProvider ? row.provider : row.account; return named_.includes(key) ? key : `${keys.length - named_.length} others`; };
    const colors = (part) => (byProvider || keys.length === 1 ? providerColor(byProvider ? part : shown[0].provider) : colorOf(named_.includes(part) ? named_.indexOf(part) : SERIES - 1));
    const bars = [];
    for (const month of months) for (const part of unique(shown.map(partOf))) {
      const rows = shown.filter((one) => one.billing_month === month && partOf(one) === part);
      const cost = exact.sum(rows.map((one) => one.cost_to_date));
      if (cost === null) continue;
      const common = { date: month, month: axisMonth.format(at(month)), day: showMonth(month), name: short(part), color: colors(part) };
      bars.push({ ...common, value: float(cost), text: money(cost, currency), faint: false, order: 0 });
      const rest = exact.sum(rows.filter((one) => one.forecast !== null).map((one) => exact.minus(one.forecast, one.cost_to_date)));
      if (rest !== null && exact.parse(rest) > 0n) bars.push({ ...common, value: float(rest), text: `${money(rest, currency)} still to come`, faint: true, order: 1 });
    }
    legend("month-legend", bars.length ? [...unique(shown.map(partOf)).map((part) => [part, colors(part)]), ["still to come, by the forecast", style("--muted"), "faint"]] : []);
    chart("cost-by-month", "cost-by-month", { bars }, `Cost by month in ${currency}, the running month with its forecast.`);
    behind("month-behind", () => table("months", "Cost by month", [
      text("Month", (row) => row.billing_month, (row) => showMonth(row.billing_month)), whoColumn(),
      number("Cost", (row) => row.cost_to_date, (row) => money(row.cost_to_date, row.currency)),
      number("Forecast", (row) => row.forecast, (row) => money(row.forecast, row.currency)),
      text("How", (row) => row.basis),
    ], forecasts.filter((one) => isShown(one) && months.includes(one.billing_month)).sort((a, b) => b.billing_month.localeCompare(a.billing_month))));
  };

  /* ---------- at a glance ---------- */
  const compared = () => changes.filter((one) => isShown(one) && one.days_before === 7 && one.days_now === 7 && one.currency !== null);
  const trend = (share) => {
    if (share === null) return null;
    const up = exact.parse(share) > 0n, flat = exact.parse(share) === 0n;
    return el("span", { class: `trend ${flat ? "" : up ? "up" : "down"}` }, `${flat ? "" : up ? "▲ " : "▼ "}${percent(exact.abs(share))}`);
  };
  const drawCards = () => {
    const now = ofMonth(page.month), before = ofMonth(lastMonth), currency = mainCurrency();
    const card = (title, sums, ...more) => {
      const amounts = [...sums].sort((a, b) => (a[0] === currency ? -1 : b[0] === currency ? 1 : a[0].localeCompare(b[0])));
      return el("article", { class: "card" }, el("h2", {}, title), el("p", { class: "big", "data-exact": amounts[0]?.[1] ?? null }, amounts.length ? money(amounts[0][1], amounts[0][0]) : "–"),
        amounts.slice(1).map(([one, amount]) => el("p", { class: "also", "data-exact": amount }, `and ${money(amount, one)}`)), more.flat().filter(Boolean));
    };
    const soFar = sumsBy(now, (row) => row.cost_to_date), expected = sumsBy(now, (row) => row.forecast ?? row.cost_to_date);
    const last = sumsBy(before, (row) => row.cost_to_date), month = monthName.format(at(page.month));
    const split = (rows, get) => {
      const mine = rows.filter((row) => row.currency === currency);
      const parts = unique(mine.map((row) => row.provider)).map((provider) => ({ provider, cost: exact.sum(mine.filter((row) => row.provider === provider).map(get)) }));
      if (parts.length === 0) return null;
      return [
        el("div", { class: "split", "aria-hidden": "true" }, parts.map((part) => { const bit = el("i"); bit.style.flexGrow = String(Math.max(0, float(part.cost))); bit.style.background = providerColor(part.provider); return bit; })),
        el("ul", { class: "parts" }, parts.map((part) => el("li", {}, dot(providerColor(part.provider)), nameOf(part.provider), el("span", { "data-exact": part.cost }, money(part.cost, currency))))),
      ];
    };
    const unforeseen = now.filter((row) => row.forecast === null);
    const low = sumsBy(now, (row) => row.forecast_low ?? row.cost_to_date), high = sumsBy(now, (row) => row.forecast_high ?? row.cost_to_date);
    const both = compared(), weekNow = sumsBy(both, (row) => row.cost_now), weekBefore = sumsBy(both, (row) => row.cost_before);
    const series = costSeries().filter((one) => one.currency === currency);
    const fourWeeks = daysOf({ start: plus(page.weeks.end, -28), end: page.weeks.end }).map((day) => exact.sum(series.map((one) => costOn(one, day))));
    const against = (sums, others) => (sums.has(currency) && others.get(currency) ? trend(exact.ratio(exact.minus(sums.get(currency), others.get(currency)), others.get(currency))) : null);
    const notIn = unique(unpriced.filter((row) => isShown(row) && exact.parse(row.quantity_of_month) !== 0n).map((row) => row.provider));
    fill("cards",
      card(`${month} so far`, soFar, split(now, (row) => row.cost_to_date) ?? el("p", { class: "sub" }, "Nothing billed yet."), notIn.length ? el("p", { class: "sub warn" }, `Without usage of ${notIn.join(", ")} that has no price`) : null),
      card(`${month}, forecast`, expected,
        expected.size ? el("p", { class: "sub" }, `${[...low].filter(([one]) => one === currency).map(([one, amount]) => money(amount, one)).join("")} – ${money(high.get(currency) ?? null, currency)}`) : null,
        split(now, (row) => row.forecast ?? row.cost_to_date), el("p", { class: "sub" }, against(expected, last) ?? "", last.size ? ` against ${monthName.format(at(lastMonth))}` : ""),
        unforeseen.length ? el("p", { class: "sub warn" }, `${plural(unforeseen.length, "account")} without a forecast, counted as so far`) : null),
      card(monthName.format(at(lastMonth)), last, split(before, (row) => row.cost_to_date), el("p", { class: "sub" }, before.length && before.every((row) => row.is_final) ? "Over, and loaded whole" : before.length ? "Not all of it is loaded" : "Nothing billed")),
      card("Last 7 whole days", weekNow, el("p", { class: "sub" }, against(weekNow, weekBefore), weekBefore.size ? ` against the week before` : "No two whole weeks yet"), spark(fourWeeks, style("--accent"))));
  };

  /* ---------- what needs attention ---------- */
  const drawAttention = () => {
    const boxes = [];
    const lacking = unpriced.filter(isShown);
    if (lacking.length) {
      const inMonth = lacking.filter((row) => exact.parse(row.quantity_of_month) !== 0n);
      boxes.push(el("section", { class: "callout bad", id: "unpriced", "aria-labelledby": "unpriced-title" },
        el("h2", { id: "unpriced-title" }, "Usage without a price"),
        el("p", {}, `${some(lacking.map(label))}: ${plural(lacking.length, "meter")} with usage that no price covers, ${inMonth.length || "none"} this month. It is in no cost on this page, so all totals are too low. Add a price, or a credit grant, to your billing files.`),
        table("unpriced", "Usage without a price", [
          whoColumn(), text("Meter", (row) => row.meter),
          number("This month", (row) => row.quantity_of_month, (row) => `${count(row.quantity_of_month)} ${row.unit ? unit(row.unit, row.quantity_of_month) : "uses"}`),
          number("All time", (row) => row.quantity, (row) => `${count(row.quantity)} ${row.unit ? unit(row.unit, row.quantity) : "uses"}`),
          text("From", (row) => row.first_date, (row) => showDay(row.first_date)), text("Until", (row) => row.last_date, (row) => showDay(row.last_date)),
          text("Why", (row) => row.reason),
        ], lacking, { most: 5 })));
    }
    const items = [];
    const late = sources.filter((row) => isShown(row) && row.status !== "fresh");
    if (late.length) items.push(["#fresh", `${plural(late.length, "table")} not fresh: ${some(late.map((row) => `${label(row)} (${row.status})`))}`]);
    const never = gaps.filter((gap) => isShown(gap) && gap.kind === "never fetched");
    if (never.length) items.push(["#fresh", `${plural(never.reduce((sum, gap) => sum + gap.days, 0), "day")} never fetched: ${some(never.map(label))}`]);
    const recent = [...anomaliesByDay(page.meters.filter(isShown))].filter(([day]) => day >= plus(page.today, -7)).sort().reverse();
    for (const [day, found] of recent.slice(0, 3)) items.push(["#usage", `Unusual usage on ${shortDay.format(at(day))}: ${found.slice(0, 3).map((one) => `${some([`${label(one)} ${one.meter}`])} (${exact.parse(one.score) > 0n ? "above" : "below"} by ${count(exact.abs(one.score))} deviations)`).join(", ")}${found.length > 3 ? ` and ${found.length - 3} more` : ""}`]);
    for (const one of page.credits.filter(isBilled)) if (one.runs_out_on && between(page.today, one.runs_out_on) <= 30) items.push(["#credits", `Credits of ${some([label(one)])} run out ${exact.parse(one.remaining) === 0n ? "– none are left" : `about ${showDay(one.runs_out_on)}`}`]);
    const off = lines.filter((row) => isBilled(row) && ["over", "under", "missing usage"].includes(row.status));
    if (off.length) items.push(["#invoices", `${plural(off.length, "line")} of invoices differ from what we compute`]);
    if (items.length) boxes.push(el("section", { class: "callout warn" }, el("h2", {}, "Worth a look"), el("ul", {}, items.map(([href, said]) => el("li", {}, el("a", { href }, said))))));
    fill("attention", boxes);
  };
  const unit = (name, quantity) => (exact.parse(quantity) === 1000000000n || name === "mixed" ? name : `${name}s`);

  /* ---------- usage ---------- */
  const meterKey = (one) => JSON.stringify([one.provider, one.account, one.meter]);
  const drawUsage = () => {
    const meters = page.meters.filter(isShown);
    byId("usage-note").textContent = page.meters_from ? `Days before ${showDay(page.meters_from)} are left out, to keep this file small; they are in usage_trends_daily.` : "Every meter on its own: different units do not add up.";
    if (!meters.some((one) => meterKey(one) === state.meter)) state.meter = meters.length ? meterKey([...meters].sort((a, b) => Object.keys(b.anomalies).length - Object.keys(a.anomalies).length || (a.unit === null) - (b.unit === null))[0]) : "";
    fill("meter", meters.map((one) => { const option = el("option", { value: meterKey(one) }, short(`${label(one)} · ${one.meter}`, 70)); option.selected = meterKey(one) === state.meter; return option; }));
    byId("meter").parentElement.hidden = meters.length === 0;
    const chosen = meters.find((one) => meterKey(one) === state.meter);
    const choose = (one) => { state.meter = meterKey(one); drawUsage(); byId("usage").scrollIntoView({ block: "start" }); say(`${one.meter} is drawn`); };
    fill("usage-table", table("usage", "Usage by meter", [
      whoColumn(), text("Meter", (row) => row.meter, (row) => el("button", { type: "button", class: "link", onclick: () => choose(row), "aria-pressed": String(meterKey(row) === state.meter) }, nameOf(row.meter))),
      text("Last 28 days", () => null, (row) => spark(row.quantities.slice(-28), providerColor(row.provider)) ?? "–"),
      number("Last whole day", (row) => row.last.quantity, (row) => count(row.last.quantity)),
      number("7-day average", (row) => row.last.average_7d, (row) => count(row.last.average_7d)),
      number("28-day average", (row) => row.last.average_28d, (row) => count(row.last.average_28d)),
      number("Against last week", (row) => row.last.week_over_week, (row) => percent(row.last.week_over_week, "exceptZero")),
      number("Month to date", (row) => row.last.month_to_date, (row) => `${count(row.last.month_to_date)} ${row.unit ? unit(row.unit, row.last.month_to_date) : ""}`),
      number("Unusual days", (row) => String(Object.keys(row.anomalies).length), (row) => (Object.keys(row.anomalies).length ? chip(String(Object.keys(row.anomalies).length), "bad") : "0")),
    ], meters, { empty: "No usage by the day.", rowClass: (row) => (meterKey(row) === state.meter ? "chosen" : null) }));
    if (!chosen) { legend("usage-legend", []); chart("usage-by-day", "usage-by-day", { bars: [] }, ""); fill("usage-behind"); return; }
    const cover = page.coverage.find((one) => one.provider === chosen.provider && one.account === chosen.account), holes = new Set(cover?.incomplete);
    const days = daysOf(period()).filter((day) => day >= chosen.start && between(chosen.start, day) < chosen.quantities.length);
    const of = (list, day) => list[between(chosen.start, day)] ?? null;
    const color = providerColor(chosen.provider), name = chosen.unit ?? "use";
    const isWhole = (day) => !holes.has(between(cover.start, day));
    const bars = days.filter((day) => of(chosen.quantities, day) !== null).map((day) => ({ date: day, day: weekdayFormat.format(at(day)), value: float(of(chosen.quantities, day)), text: `${count(of(chosen.quantities, day))} ${unit(name, of(chosen.quantities, day))}`, name: short(chosen.meter), color, order: 0, faint: !isWhole(day) }));
    const curve = (list, name_, ink, dash) => days.filter((day) => of(list, day) !== null && isWhole(day)).map((day) => ({ date: day, value: float(of(list, day)), name: name_, color: ink, dash }));
    const marks = days.filter((day) => chosen.anomalies[between(chosen.start, day)] !== undefined).map((day) => ({ date: day, day: weekdayFormat.format(at(day)), value: float(of(chosen.quantities, day)), text: `${count(chosen.anomalies[between(chosen.start, day)], "exceptZero")} standard deviations`, color: style("--bad") }));
    legend("usage-legend", [[`${chosen.meter}, ${unit(name, "2")}`, color], ["7-day average", style("--ink"), "line"], ["28-day average", style("--muted"), "line dashed"], ...(marks.length ? [["Unusual", style("--bad"), "mark"]] : [])]);
    chart("usage-by-day", "usage-by-day", { bars, averages: [...curve(chosen.averages_7d, "7-day average", style("--ink"), "solid"), ...curve(chosen.averages_28d, "28-day average", style("--muted"), "dashed")], anomalies: marks }, `${chosen.meter} by day with its 7- and 28-day averages.`);
    behind("usage-behind", () => table("usage-days", `${short(chosen.meter)} by day`, [
      text("Day", (row) => row, (row) => weekdayFormat.format(at(row))),
      number("Quantity", (row) => of(chosen.quantities, row), (row) => count(of(chosen.quantities, row))),
      number("7-day average", (row) => of(chosen.averages_7d, row), (row) => count(of(chosen.averages_7d, row))),
      number("28-day average", (row) => of(chosen.averages_28d, row), (row) => count(of(chosen.averages_28d, row))),
      number("Anomaly score", (row) => chosen.anomalies[between(chosen.start, row)] ?? null, (row) => count(chosen.anomalies[between(chosen.start, row)])),
    ], [...days].reverse()));
  };

  /* ---------- what changed ---------- */
  const drawChange = () => {
    const { before, start, end } = page.weeks, mine = changes.filter(isShown);
    byId("change-note").textContent = `${showSpan(start, plus(end, -1))} against ${showSpan(before, plus(start, -1))}: the last whole days.`;
    const isCompared = (row) => row.days_before === 7 && row.days_now === 7;
    const difference = (row) => (isCompared(row) && row.currency !== null ? exact.minus(row.cost_now, row.cost_before) : null);
    const share = (row) => (difference(row) === null ? null : exact.ratio(difference(row), row.cost_before));
    const priced = mine.filter((row) => row.currency !== null || !isCompared(row));
    const totals = [...sumsBy(priced.filter((row) => difference(row) !== null), (row) => row.cost_now)].map(([one, now]) => {
      const then = exact.sum(priced.filter((row) => difference(row) !== null && row.currency === one).map((row) => row.cost_before)), change = exact.minus(now, then);
      return { cells: [`All (${one})`, money(then, one), money(now, one), money(change, one, "exceptZero"), trend(exact.ratio(change, then)) ?? "–"], exact: [null, then, now, change, null] };
    });
    fill("change-table", table("change", "Cost of the last two weeks", [
      whoColumn(),
      number("Week before", (row) => row.cost_before, (row) => money(row.cost_before, row.currency)),
      number("Last week", (row) => row.cost_now, (row) => money(row.cost_now, row.currency)),
      number("Change", difference, (row) => money(difference(row), row.currency, "exceptZero")),
      { ...number("Change in %", share, (row) => trend(share(row))), show: (row) => (isCompared(row) ? trend(share(row)) ?? "–" : chip(`${row.days_before + row.days_now} of 14 days are whole`, "warn")) },
    ], priced, { empty: "No cost in these two weeks.", total: priced.length > 1 ? totals : null }));

    const scope = drivers.filter(inScope), key = (row) => JSON.stringify([row.provider, row.dimension, row.unit]);
    const delta = (row) => (row.currency === null ? null : exact.minus(row.cost_now, row.cost_before));
    const more = (row) => exact.minus(row.quantity_now, row.quantity_before);
    // What moved most money comes first; what has no cost is ordered by how much more or less of it there was.
    const cuts = unique(scope.map(key)).map((one) => ({ key: one, rows: scope.filter((row) => key(row) === one) })).map((one) => ({ ...one, costs: one.rows.some((row) => delta(row) !== null), moved: Math.max(...one.rows.map((row) => Math.abs(float(delta(row) ?? "0")))), value: one.rows[0] }));
    cuts.sort((a, b) => b.moved - a.moved || a.key.localeCompare(b.key));
    const reasons = unique(cuts.filter((one) => one.moved > 0).map((one) => one.value.provider)).map((provider) => {
      const total = exact.sum(priced.filter((row) => row.provider === provider).map(difference));
      const most = cuts.filter((one) => one.value.provider === provider && one.moved > 0).slice(0, 3).map((one) => one.rows.reduce((a, b) => (Math.abs(float(delta(b) ?? "0")) > Math.abs(float(delta(a) ?? "0")) ? b : a)));
      return el("li", {}, dot(providerColor(provider)), el("div", {}, el("b", {}, provider), total === null ? "" : ` ${money(total, most[0].currency, "exceptZero")}`, most.map((row) => el("p", { class: "sub" }, `${words(row.dimension)} `, nameOf(row.value), ` ${money(delta(row), row.currency, "exceptZero")}`))));
    });
    byId("change-table").append(reasons.length ? el("h3", {}, "Where it moved most") : "", reasons.length ? el("ul", { class: "reasons" }, reasons) : "");
    if (!cuts.some((one) => one.key === state.cut)) state.cut = cuts[0]?.key ?? "";
    fill("cut", cuts.map((one) => { const option = el("option", { value: one.key }, `${one.value.provider} · ${words(one.value.dimension)}${one.costs ? "" : `, ${unit(one.value.unit ?? "use", "2")}`}`); option.selected = one.key === state.cut; return option; }));
    byId("cut").parentElement.hidden = cuts.length === 0;
    const cut = cuts.find((one) => one.key === state.cut), rows = cut?.rows ?? [];
    const moved = (row) => (cut.costs ? delta(row) : more(row));
    const showMoved = (row) => (cut.costs ? money(delta(row), row.currency, "exceptZero") : count(more(row), "exceptZero"));
    chart("drivers", "drivers", { bars: rows.filter((row) => moved(row) !== null).map((row) => ({ name: short(row.value || "(empty)", 32), value: float(moved(row)), text: showMoved(row), color: exact.parse(moved(row)) > 0n ? style("--up") : style("--down") })) }, "What rose and what fell, by value.");
    fill("drivers-table", table("drivers", "What drove the change", [
      text(cut ? words(cut.value.dimension) : "Value", (row) => row.value),
      ...(cut?.costs ? [number("Change of cost", delta, (row) => money(delta(row), row.currency, "exceptZero"))] : []),
      number("Week before", (row) => row.quantity_before, (row) => count(row.quantity_before)),
      number("Last week", (row) => row.quantity_now, (row) => count(row.quantity_now)),
      text("Unit", (row) => row.unit ?? ""),
    ], rows, { empty: "No dimension changed, or no two whole weeks are loaded." }));
  };
  const words = (name) => (name === "sku" ? "SKU" : name.replace(/_/g, " ").replace(/\bapi\b/g, "API").replace(/\bid\b/g, "ID"));

  /* ---------- what it is spent on ---------- */
  const drawSpent = () => {
    const here = slices.filter((row) => row.period === state.period && inScope(row));
    const fallback = chosenAccount() && here.length === 0 && slices.some(inScope);
    byId("spent-note").textContent = fallback ? "For single accounts among this many: choose the last 28 days, this month or last month." : `${period().label}. Each cut is the same usage: they do not add up to more.`;
    const panels = unique(here.map((row) => row.provider)).sort().map((provider) => {
      const mine = here.filter((row) => row.provider === provider), key = (row) => `${row.dimension}\n${row.unit ?? ""}`;
      const isPriced = (one) => mine.some((row) => key(row) === one && row.cost !== null);
      const cuts = unique(mine.map((row) => row.dimension)).flatMap((dimension) => { // of one dimension, the units that cost something
        const all = unique(mine.filter((row) => row.dimension === dimension).map(key)), priced = all.filter(isPriced);
        return dimension === "sku" || priced.length === 0 ? all : priced;
      });
      // SKUs of different units share a currency, so that they stand together.
      const choices = unique(cuts.map((one) => (one.startsWith("sku\n") ? "sku" : one))).sort((a, b) => (b === "sku") - (a === "sku") || a.localeCompare(b));
      const isCut = (one) => mine.filter((row) => (one === "sku" ? row.dimension === "sku" : key(row) === one)).length > 1;
      const preferred = state.dimension[provider], chosen = choices.includes(preferred) ? preferred : choices.find(isCut) ?? choices[0];
      const rows = mine.filter((row) => (chosen === "sku" ? row.dimension === "sku" : key(row) === chosen)).sort((a, b) => (a.value === null) - (b.value === null) || exact.compare(b.cost ?? "0", a.cost ?? "0") || exact.compare(b.quantity, a.quantity));
      const currencies_ = unique(rows.map((row) => row.currency).filter(Boolean)), byCost = currencies_.length === 1 && rows.every((row) => row.cost !== null || exact.parse(row.quantity) === 0n || chosen !== "sku") && exact.parse(exact.sum(rows.map((row) => row.cost))) !== 0n;
      const amount = (row) => (byCost ? row.cost : row.quantity), total = exact.sum(rows.map(amount));
      const share = (row) => exact.ratio(amount(row), total);
      const select = el("select", { "aria-label": `Dimension of ${provider}`, onchange: (event) => { state.dimension[provider] = event.target.value; drawSpent(); byId("spent").querySelector(`[data-provider="${CSS.escape(provider)}"] select`).focus(); }, }, choices.map((one) => { const [dimension, unit_] = one.split("\n"); const option = el("option", { value: one }, words(dimension) + (dimension !== "sku" && cuts.filter((other) => other.startsWith(`${dimension}\n`)).length > 1 ? `, ${unit(unit_ || "use", "2")}` : "")); option.selected = one === chosen; return option; }));
      const bar = (row) => { const fill_ = el("i"), part = float(share(row)) ?? 0; fill_.style.width = `${Math.min(100, Math.max(0, part * 100))}%`; fill_.style.background = providerColor(provider); return el("span", { class: "share" }, el("span", { class: "track", "aria-hidden": "true" }, fill_), el("span", {}, percent(share(row)))); };
      return el("div", { class: "panel", "data-provider": provider }, el("div", { class: "row" }, el("h3", {}, dot(providerColor(provider)), provider), select), table(`spent-${provider}-${chosen}`, `${provider} by ${words(chosen.split("\n")[0])}`, [
        text(words(chosen.split("\n")[0]), (row) => row.value ?? `${row.values} others`, (row) => (row.value === null ? el("span", { class: "muted" }, `${row.values} others`) : nameOf(row.value))),
        number("Share", share, bar),
        number("Cost", (row) => row.cost, (row) => el("span", {}, money(row.cost, row.currency), exact.parse(row.unpriced) !== 0n ? el("abbr", { title: `${count(row.unpriced)} of it have no cost` }, "*") : null)),
        number("Quantity", (row) => row.quantity, (row) => el("span", { class: "nowrap" }, `${count(row.quantity)} ${row.unit ? unit(row.unit, row.quantity) : ""}`)),
      ], rows), rows.some((row) => row.cost !== null && exact.parse(row.unpriced) !== 0n) ? el("p", { class: "sub" }, "* A part of it has no price, and is in no cost.") : null);
    });
    fill("spent-panels", panels.length ? panels : el("p", { class: "empty" }, "No usage in this period."));
  };

  /* ---------- credits, invoices, freshness ---------- */
  const drawCredits = () => {
    const mine = page.credits.filter(isBilled), { start, end } = period();
    byId("credits-panel").hidden = !mine.some((one) => one.left_by_day.length > 1);
    const drawnOnes = mine.slice(0, SERIES), own = unique(drawnOnes.map((one) => one.provider)).length === drawnOnes.length;
    const color = (one, order) => (own ? providerColor(one.provider) : colorOf(order));
    const rows = drawnOnes.flatMap((one, order) => one.left_by_day.map((left, position) => ({ left, day: plus(one.start, position) })).filter(({ left, day }) => left !== null && day >= start && day < end).map(({ left, day }) => ({ date: day, day: weekdayFormat.format(at(day)), value: float(left), text: `${count(left)} ${unit(one.unit, left)}`, name: short(label(one)), color: color(one, order) })));
    legend("credits-legend", drawnOnes.map((one, order) => [label(one), color(one, order), "line"]));
    if (mine.length) chart("credits-chart", "credits", { lines: rows }, "Credits left by day.");
    behind("credits-behind", () => table("credit-days", "Credits left by day", [text("Day", (row) => row.date, (row) => row.day), text("Account", (row) => row.name), number("Left", (row) => String(row.left), (row) => row.text)], drawnOnes.flatMap((one) => one.left_by_day.map((left, position) => ({ left, date: plus(one.start, position), name: label(one) })).filter((row) => row.left !== null && row.date >= start && row.date < end).map((row) => ({ ...row, day: weekdayFormat.format(at(row.date)), text: count(row.left) }))).reverse()));
    const tone = (row) => (exact.parse(row.remaining) === 0n ? "bad" : row.runs_out_on && between(page.today, row.runs_out_on) <= 30 ? "warn" : "good");
    fill("credits-table", table("credits", "Credits left", [
      whoColumn("Billing account"), text("Last 90 days", () => null, (row) => spark(row.left_by_day.slice(-90), providerColor(row.provider)) ?? "–"),
      number("Granted", (row) => row.granted, (row) => count(row.granted)), number("Used", (row) => row.used, (row) => count(row.used)),
      number("Left", (row) => row.remaining, (row) => count(row.remaining)), number("Used beyond them", (row) => row.overage, (row) => count(row.overage)),
      number("Days left", (row) => row.days_left, (row) => count(row.days_left)),
      text("Run out", (row) => row.runs_out_on, (row) => (exact.parse(row.remaining) === 0n ? chip("none left", "bad") : row.runs_out_on ? chip(showDay(row.runs_out_on), tone(row)) : el("span", { class: "muted" }, "not at this rate"))),
    ], mine, { empty: "No credit grants are known. Name them in billing/credit_grants.csv." }));
  };
  const TONES = { matched: "good", "within tolerance": "good", over: "bad", under: "warn", "missing invoice": "plain", "missing usage": "bad", "month still open": "plain", "not computed": "plain" };
  const drawInvoices = () => {
    const mine = lines.filter(isBilled), invoiced = mine.filter((row) => row.invoiced !== null), counts = new Map();
    for (const row of mine) counts.set(row.status, (counts.get(row.status) ?? 0) + 1);
    byId("invoices-note").textContent = mine.length === 0 ? "" : `${invoiced.length ? `${plural(invoiced.length, "line")} invoiced` : "No invoice is known"}; ${[...counts].map(([status, n]) => `${n} ${status}`).join(", ")}.${page.lines_from ? ` From ${showMonth(page.lines_from)} on.` : ""}`;
    fill("invoices-table", table("invoices", "What was computed beside what was invoiced", [
      text("Month", (row) => row.billing_month, (row) => showMonth(row.billing_month)), whoColumn("Billing account"), text("Line", (row) => row.line),
      number("Computed", (row) => row.computed, (row) => money(row.computed, row.currency)), number("Invoiced", (row) => row.invoiced, (row) => money(row.invoiced, row.currency)),
      number("Difference", (row) => row.difference, (row) => money(row.difference, row.currency, "exceptZero")),
      text("Status", (row) => row.status, (row) => el("span", { class: "nowrap", title: page.advice[row.advice] }, chip(row.status, TONES[row.status] || "plain"), row.has_unpriced_usage ? el("abbr", { title: "The month has usage without a price: what is computed is too little." }, "*") : null)),
      text("What to do", (row) => page.advice[row.advice], (row) => el("span", { class: "muted wraps" }, page.advice[row.advice] || "–")),
    ], mine, { empty: "No cost and no invoice yet. Name your invoices in billing/invoices.csv." }));
  };
  const drawFresh = () => {
    const mine = sources.filter(isShown), notFresh = mine.filter((row) => row.status !== "fresh").length;
    byId("fresh-note").textContent = mine.length === 0 ? "Nothing was loaded yet." : notFresh ? `${notFresh} of ${plural(mine.length, "table")} behind.` : mine.length === 1 ? "The one table is fresh." : `All ${mine.length} tables are fresh.`;
    const worst = { "never loaded": 0, stale: 1, late: 2, fresh: 3 };
    fill("fresh-table", table("fresh", "Freshness of the tables", [
      whoColumn(), text("Table", (row) => row.resource), text("Status", (row) => row.status, (row) => chip(row.status, { fresh: "good", late: "warn" }[row.status] || "bad")),
      text("Complete until", (row) => row.complete_until, (row) => showTime(row.complete_until)), text("Last fetched", (row) => row.last_fetched_at, (row) => showTime(row.last_fetched_at)),
      text("Loaded from", (row) => row.loaded_from, (row) => showTime(row.loaded_from)), number("Rows", (row) => String(row.row_count), (row) => count(String(row.row_count))),
    ], [...mine].sort((a, b) => worst[a.status] - worst[b.status]), { empty: "No table was loaded." }));
    const holes = gaps.filter(isShown);
    fill("gaps-table", el("h3", {}, "Gaps"), table("gaps", "Days without data", [
      whoColumn(), text("Table", (row) => row.resource), text("What", (row) => row.kind, (row) => chip(row.kind, { "never fetched": "bad", "partly fetched": "warn" }[row.kind] || "plain")),
      text("Days", (row) => row.first_date, (row) => showSpan(row.first_date, row.last_date)), number("How many", (row) => String(row.days), (row) => count(String(row.days))),
    ], holes, { empty: "No day within what is loaded is missing." }), page.gaps_left_out ? el("p", { class: "sub" }, `${page.gaps_left_out} more are in usage_gaps.`) : null);
  };

  /* ---------- filters, theme, start ---------- */
  const draw = () => {
    const options = (id, list, chosen) => fill(id, list.map(([value, name]) => { const option = el("option", { value }, name); option.selected = value === chosen; return option; }));
    options("provider", [["", "All"], ...providers.map((one) => [one, one])], state.provider);
    const known = accounts.filter((one) => state.provider === "" || one.provider === state.provider);
    options("account", [["", "All"], ...known.map((one) => [`${one.provider}/${one.account}`, short(state.provider ? one.account || "(empty)" : `${one.provider} · ${one.account || "(empty)"}`, 60)])], state.account);
    options("period", page.periods.map((one) => [one.key, one.label]), state.period);
    const isFiltered = state.provider !== "" || state.account !== "";
    byId("reset").hidden = !isFiltered;
    byId("chosen").textContent = showSpan(period().start, plus(period().end, -1));
    drawAttention(); drawCards(); drawMonth(); drawDays(); drawUsage(); drawChange(); drawSpent(); drawCredits(); drawInvoices(); drawFresh();
  };
  const redraw = () => { if (accounts.length > 0) draw(); };
  const remember = () => {
    const hash = new URLSearchParams(Object.entries({ provider: state.provider, account: state.account, period: state.period }).filter(([, value]) => value));
    history.replaceState(null, "", `#${hash}`);
  };
  const changed = (change) => { change(); remember(); draw(); say("The page shows what is chosen."); };
  byId("provider").addEventListener("change", (event) => changed(() => { state.provider = event.target.value; if (state.account && chosenAccount()?.provider !== state.provider) state.account = ""; }));
  byId("account").addEventListener("change", (event) => changed(() => { state.account = event.target.value; }));
  byId("period").addEventListener("change", (event) => changed(() => { state.period = event.target.value; }));
  byId("reset").addEventListener("click", () => { changed(() => { state.provider = ""; state.account = ""; }); byId("provider").focus(); });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("meter").addEventListener("change", (event) => { state.meter = event.target.value; drawUsage(); });
  byId("cut").addEventListener("change", (event) => { state.cut = event.target.value; drawChange(); });

  const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("meterhouse-theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const showTheme = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; byId("theme").setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours"); byId("theme").setAttribute("aria-pressed", String(isDark())); };
  if (stored()) root.dataset.theme = stored();
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("meterhouse-theme", root.dataset.theme); } catch { /* a page from disk may have no storage */ }
    showTheme(); redraw();
  });
  dark.addEventListener("change", () => { showTheme(); redraw(); });
  // Paper is white: what is dark on the screen is drawn light for the time of printing.
  let onScreen = null;
  window.addEventListener("beforeprint", () => { onScreen = root.dataset.theme ?? ""; root.dataset.theme = "light"; redraw(); });
  window.addEventListener("afterprint", () => { if (onScreen) root.dataset.theme = onScreen; else delete root.dataset.theme; redraw(); });
  showTheme();
  if (accounts.length === 0) {
    root.dataset.empty = "true";
    fill("attention", el("section", { class: "panel start" }, el("h2", {}, "Nothing is loaded yet"), el("p", { class: "muted" }, "Set the credentials of a provider, then run ", el("code", {}, "meterhouse run"), " and make this page again. ", el("code", {}, "meterhouse check"), " says what is missing.")));
  } else {
    draw();
  }
  Promise.all(drawing).then(() => { root.dataset.ready = "true"; });
})();
