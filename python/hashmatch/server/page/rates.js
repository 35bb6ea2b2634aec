// How much is being looked up, and the state that it is answered from.

import { ago, count, drawing, element, number, rate, size, tell } from "./text.js";

const KEPT = 60;
const COUNTERS = {
  requests: ["hashmatch_requests_total", "Requests a second"],
  hashes: ["hashmatch_hashes_total", "Hashes a second"],
  matches: ["hashmatch_matches_total", "Matches a second"],
};
// What this page and probes ask for is not shown as load.
const WATCHING = /^\/($|page\/|docs|openapi|metrics|livez|readyz|status|v1\/(status|sets)$)/;

const tiles = document.getElementById("tiles");
const note = document.getElementById("rates-note");
const shown = {};
const rates = { requests: [], hashes: [], matches: [] };
let last = null;

for (const [name, [, title]] of Object.entries(COUNTERS)) tile(name, title, true);
tile("generation", "Generation");

function tile(name, title, drawn = false) {
  const value = element("dd", {}, "–");
  const more = drawn
    ? drawing("svg", { class: "line", viewBox: `0 0 ${KEPT - 1} 10`, preserveAspectRatio: "none", "aria-hidden": "true" })
    : element("dd", { class: "note" });
  tiles.append(element("div", { id: `now-${name}` }, element("dt", {}, title), value, drawn ? element("dd", {}, more) : more));
  shown[name] = { value, more };
}

// Takes the counters as /metrics has them, of all the server's processes, at `now` in ms.
export function counted(text, now) {
  const sums = totals(text);
  if (last) {
    const seconds = (now - last.now) / 1000;
    for (const name of Object.keys(COUNTERS)) {
      // A server that was started anew counts from 0 again.
      const made = Math.max(0, sums[name] - last.sums[name]) / seconds;
      rates[name] = [...rates[name], made].slice(-KEPT);
      shown[name].value.textContent = rate(made);
      draw(shown[name].more, rates[name]);
    }
  }
  last = { now, sums };
}

// Why there are no rates.
export function uncounted(why) {
  last = null;
  for (const name of Object.keys(COUNTERS)) shown[name].value.textContent = "–";
  tell(note, why);
}

const SAMPLE = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const ROUTE = /(?:^|,)route="([^"]*)"/;

function totals(text) {
  const sums = { requests: 0, hashes: 0, matches: 0 };
  for (const row of text.split("\n")) {
    const [, metric, labels = "", value] = SAMPLE.exec(row) ?? [];
    const name = Object.keys(COUNTERS).find((each) => COUNTERS[each][0] === metric);
    if (name && !WATCHING.test(ROUTE.exec(labels)?.[1] ?? "")) sums[name] += Number(value);
  }
  return sums;
}

function draw(where, values) {
  const most = Math.max(...values, 1e-9);
  const first = KEPT - values.length;
  const points = values.map((value, place) => `${first + place},${(9.5 - (value / most) * 9).toFixed(2)}`);
  where.replaceChildren(drawing("polyline", { points: points.join(" ") }));
}

// Shows /v1/status.
export function held(status) {
  shown.generation.value.textContent = number(status.generation);
  shown.generation.more.textContent = status.age_seconds === null ? "" : ago(status.age_seconds);
  const types = Object.entries(status.types).map(
    ([name, { signals, size_bytes }]) => `${count(signals, `${name} signal`)} (${size(size_bytes)})`,
  );
  tell(note, types.length ? `Held: ${types.join(", ")}.` : "");
}
