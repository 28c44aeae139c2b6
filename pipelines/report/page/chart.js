// Charts, their legends and the tables of their data. Colours and fonts come from the style sheet.
const style = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
const SERIES_COLORS = 8;
const seriesColor = (position) => style(`--series-${(position % SERIES_COLORS) + 1}`);
const providerColor = (provider) => seriesColor(Math.max(0, providers.indexOf(provider)));

const chartTheme = () => {
  const ink = style("--muted");
  const line = style("--line");
  return {
    background: "transparent",
    font: style("--font"),
    axis: {
      labelColor: ink,
      titleColor: ink,
      gridColor: line,
      domainColor: line,
      tickColor: line,
      labelFontSize: 12,
      labelPadding: 6,
      tickSize: 0,
      domain: false,
    },
    view: { stroke: null },
  };
};

// Widens the axis to 14 days with a bar of zero, because a single day would fill the whole width.
const padDays = (bars) => {
  const dates = bars.map((bar) => bar.date).sort();
  const first = addDays(dates.at(-1), -13);
  if (dates[0] > first) {
    bars.push({ date: first, day: "", name: "", text: "", value: 0, color: "transparent", order: 0, faint: false });
  }
};

// The months with bars, and at least six for the same reason.
const axisMonths = (bars) => {
  const months = lastMonths();
  const first = months.indexOf(bars.map((bar) => bar.date).sort()[0]);
  return months.slice(Math.min(first, months.length - 6)).map(formatAxisMonth);
};

// The current view of each chart by its element, and the number of its latest drawing.
const charts = new Map();
const pendingDrawings = new Set();

const drawChart = (id, name, data, description) => {
  const drawing = replaceChart(id, name, data, description).finally(() => pendingDrawings.delete(drawing));
  pendingDrawings.add(drawing);
};

const replaceChart = async (id, name, data, description) => {
  const holder = byId(id);
  const former = charts.get(id);
  const round = (former?.round ?? 0) + 1;
  charts.set(id, { ...former, round });
  if (!(data.bars ?? data.lines).length) {
    former?.view?.finalize();
    holder.replaceChildren(element("p", { class: "empty" }, "No data for this selection."));
    return;
  }
  // Vega measures its element, which must therefore be on the page; the former chart stays until the new one is drawn.
  const box = element("div", { class: "vega" });
  box.style.position = former?.view ? "absolute" : "";
  holder.append(box);
  const view = await vegaEmbed(box, chartSpec(name, data, description), {
    actions: false,
    renderer: "svg",
    ast: true,
    config: chartTheme(),
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true, theme: "page" },
    loader: { target: "_self", http: {} },
  });
  if (charts.get(id).round !== round) {
    view.finalize();
    box.remove();
    return;
  }
  former?.view?.finalize();
  box.style.position = "";
  holder.replaceChildren(box);
  charts.set(id, { view, round });
};

const chartSpec = (name, data, description) => {
  const spec = { ...structuredClone(chartSpecs[name]), datasets: data, description };
  // Vega warns about scales without data.
  spec.layer = spec.layer?.filter((layer) => (data[layer.data.name] || []).length > 0);
  if (name === "cost-by-month") spec.encoding.x.scale.domain = axisMonths(data.bars);
  if (name === "drivers") spec.height = data.bars.length * 26;
  if (name.endsWith("by-day")) padDays(data.bars);
  return spec;
};

// Items: name, colour and shape (a class of the swatch).
const drawLegend = (id, items) =>
  setContent(
    id,
    items.map(([name, color, shape]) => {
      const swatch = element("i", { class: `swatch ${shape || ""}`, "aria-hidden": "true" });
      swatch.style.setProperty("--mark", color);
      return element("span", {}, swatch, nameElement(truncate(name)));
    }),
  );

// The table of a chart's data, made when the reader opens it.
const drawChartData = (id, makeTable) => {
  const details = element("details", {}, element("summary", {}, "Show data"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(makeTable());
  });
  const wasOpen = byId(id).querySelector("details")?.open;
  setContent(id, details);
  details.open = Boolean(wasOpen);
};

const sparkline = (amounts, color) => {
  const values = amounts.map((amount) => toFloat(amount) ?? 0);
  const high = Math.max(...values, 0);
  const low = Math.min(...values, 0);
  if (values.length < 2 || high === low) return null;
  const x = (position) => (position / (values.length - 1)) * 100;
  const y = (value) => 26 - ((value - low) / (high - low)) * 24;
  const points = values.map((value, position) => `${x(position)},${y(value)}`).join(" ");
  const made = svgElement(
    "svg",
    { viewBox: "0 0 100 28", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true", focusable: "false" },
    svgElement("polygon", { points: `0,28 ${points} 100,28`, class: "area" }),
    svgElement("polyline", { points, class: "line" }),
  );
  made.style.color = color;
  return made;
};

// The lines of averages in a chart, on complete days only.
const averageLine = (days, values, isComplete, name, color, dash) =>
  days
    .map((day, position) => ({ date: day, value: toFloat(values[position]), name, color, dash }))
    .filter((point) => point.value !== null && isComplete(point.date));
const averageLines = (days, averages7d, averages28d, isComplete) => [
  ...averageLine(days, averages7d, isComplete, "7-day average", style("--ink"), "solid"),
  ...averageLine(days, averages28d, isComplete, "28-day average", style("--muted"), "dashed"),
];
const averageLegend = () => [
  ["7-day average", style("--ink"), "line"],
  ["28-day average", style("--muted"), "line dashed"],
];
