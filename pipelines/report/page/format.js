// Formats days, which are texts such as 2026-01-31, and numbers, which are texts too.
const MILLISECONDS_OF_DAY = 86400000;
const timestamp = (day) => Date.parse(`${day}T00:00:00Z`);
const addDays = (day, days) => new Date(timestamp(day) + days * MILLISECONDS_OF_DAY).toISOString().slice(0, 10);
const daysBetween = (from, to) => Math.round((timestamp(to) - timestamp(from)) / MILLISECONDS_OF_DAY);
const daysOf = ({ start, end }) =>
  Array.from({ length: Math.max(0, daysBetween(start, end)) }, (_, position) => addDays(start, position));

// `report.month` and the 12 months before it.
const lastMonths = () =>
  [...Array(13).keys()].map((position) => {
    const month = new Date(timestamp(report.month));
    month.setUTCMonth(month.getUTCMonth() - 12 + position);
    return month.toISOString().slice(0, 10);
  });

const dateFormat = (options) => {
  const formatter = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  return (day) => formatter.format(timestamp(day));
};
const formatDate = dateFormat({ day: "numeric", month: "short", year: "numeric" });
const formatDayOfMonth = dateFormat({ day: "numeric", month: "short" });
const formatWeekday = dateFormat({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const formatMonth = dateFormat({ month: "long", year: "numeric" });
const formatAxisMonth = dateFormat({ month: "short", year: "2-digit" });
const formatMonthName = dateFormat({ month: "long" });
const formatDay = (day) => (day ? formatDate(day) : "–");
const formatDays = (first, last) => {
  if (first === last) return formatDay(first);
  const isOneYear = first && last && first.slice(0, 4) === last.slice(0, 4);
  return `${isOneYear ? formatDayOfMonth(first) : formatDay(first)} – ${formatDay(last)}`;
};
const formatTime = (time) => (time ? `${formatDay(time.slice(0, 10))}, ${time.slice(11, 16)}` : "never");

const numberFormats = new Map();
const numberFormat = (options) => {
  const key = JSON.stringify(options);
  if (!numberFormats.has(key)) numberFormats.set(key, new Intl.NumberFormat("en-US", options));
  return numberFormats.get(key);
};

// Amounts below the smallest unit are shown with significant digits, so that they do not read as zero.
const isBelowSmallestUnit = (text, places) => {
  const value = exact.parse(exact.abs(text));
  return value > 0n && value < 10n ** BigInt(9 - places);
};
const formatMoney = (text, currency, signDisplay = "auto") => {
  if (text === null) return "–";
  const places = report.decimal_places[currency] ?? 2;
  const digits = isBelowSmallestUnit(text, places)
    ? { maximumSignificantDigits: 2 }
    : { minimumFractionDigits: places, maximumFractionDigits: places };
  try {
    const style = { style: "currency", currency, currencyDisplay: "narrowSymbol" };
    return numberFormat({ ...style, signDisplay, ...digits }).format(text);
  } catch {
    return `${numberFormat({ signDisplay, ...digits }).format(text)} ${currency || ""}`.trim();
  }
};
const formatNumber = (text, signDisplay = "auto") =>
  text === null
    ? "–"
    : numberFormat({ maximumFractionDigits: isBelowSmallestUnit(text, 2) ? 6 : 2, signDisplay }).format(text);
const formatPercent = (text, signDisplay = "auto") =>
  text === null ? "–" : numberFormat({ style: "percent", maximumFractionDigits: 1, signDisplay }).format(text);
const toFloat = (text) => (text === null ? null : Number(text));

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const unitName = (unit, quantity) => (unit === "mixed" || exact.compare(quantity, "1") === 0 ? unit : `${unit}s`);
const formatQuantity = (quantity, unit, otherwise = "") =>
  `${formatNumber(quantity)} ${unit ? unitName(unit, quantity) : otherwise}`;

// Names of dimensions as words: api_key_id is "API key ID".
const dimensionName = (name) =>
  name === "sku"
    ? "SKU"
    : name
        .replace(/_/g, " ")
        .replace(/\bapi\b/g, "API")
        .replace(/\bid\b/g, "ID");
