"use strict";
// Exact arithmetic for money and quantities. Numbers are texts such as "-12.5"; inside, each is a BigInt of billionths,
// the scale of the marts' numeric columns.
const exact = (() => {
  const SCALE = 9;
  const parse = (text) => {
    if (text === null || text === undefined) return null;
    const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
    if (!match) throw new Error(`not a number: ${text}`);
    const digits = (match[3] || "").padEnd(SCALE, "0");
    const value = BigInt(match[2] + digits.slice(0, SCALE));
    return match[1] ? -value : value;
  };
  const text = (value) => {
    const digits = (value < 0n ? -value : value).toString().padStart(SCALE + 1, "0");
    const fraction = digits.slice(-SCALE).replace(/0+$/, "");
    return (value < 0n ? "-" : "") + digits.slice(0, -SCALE) + (fraction ? "." + fraction : "");
  };
  // Skips nulls; the sum of nulls only is null.
  const sum = (texts) => {
    let total = null;
    for (const each of texts) {
      const value = parse(each);
      if (value !== null) total = (total ?? 0n) + value;
    }
    return total === null ? null : text(total);
  };
  // The quotient, rounded half away from zero to nine decimal places; null if an operand is null or the divisor is zero.
  const ratio = (dividend, divisor) => {
    const a = parse(dividend);
    const b = parse(divisor);
    if (a === null || b === null || b === 0n) return null;
    const scaled = a * 10n ** BigInt(SCALE);
    const half = (b < 0n ? -b : b) / 2n;
    return text((scaled + (scaled < 0n ? -half : half)) / b);
  };
  const minus = (a, b) => text((parse(a) ?? 0n) - (parse(b) ?? 0n));
  const compare = (a, b) => {
    const x = parse(a);
    const y = parse(b);
    return x < y ? -1 : x > y ? 1 : 0;
  };
  const abs = (a) => a.replace(/^-/, "");
  const isZero = (a) => parse(a) === 0n;
  const isPositive = (a) => parse(a) > 0n;
  return { parse, text, sum, ratio, minus, compare, abs, isZero, isPositive };
})();
