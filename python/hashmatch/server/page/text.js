// Numbers, times and elements. Whatever comes from the server becomes text, never markup.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export function number(value) {
  return whole.format(value);
}

// A rate: small ones with a decimal, none as 0.
export function rate(value) {
  return value > 0 && value < 10 ? tenths.format(value) : whole.format(value);
}

export function count(value, word, words = word + "s") {
  return `${number(value)} ${value === 1 ? word : words}`;
}

// What a problem document says, without the row where there is but one.
export function sentence(text) {
  const said = text.replace(/^row 0: /, "");
  return said[0].toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

const SPANS = [[1, 60, "s"], [60, 60, "min"], [3600, 24, "h"]];

// "3 s ago", of seconds.
export function ago(seconds) {
  if (seconds < 1) return "now";
  for (const [size, most, unit] of SPANS) {
    const value = Math.floor(seconds / size);
    if (value < most) return `${value} ${unit} ago`;
  }
  return `${count(Math.floor(seconds / 86400), "day")} ago`;
}

// 1.2 GB, of bytes.
export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${bytes < 10 && unit ? tenths.format(bytes) : number(bytes)} ${units[unit]}`;
}

// An element with attributes; its children are elements, or text.
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Shows a text in an element that is hidden while there is none.
export function tell(where, text) {
  if (where.textContent !== text) where.textContent = text;
  where.hidden = !text;
}
