// The hash sets, with their sizes and when they last changed.

import { ago, element, number, tell } from "./text.js";

const place = document.getElementById("sets");
const COLUMNS = ["Set", "Contributor", "Items", "Signals", "Types", "Max distance", "Changed"];
let changes = [];

// Shows what /v1/sets answers.
export function listed(sets) {
  changes = [];
  if (!sets.length) {
    place.replaceChildren(element("p", { class: "empty" }, "There is none yet. One is made with ", element("code", {}, "hashmatch db create PATH SET"), ", or by PUT /v1/sets/SET."));
    return;
  }
  const head = COLUMNS.map((name) => element("th", { scope: "col" }, name));
  place.replaceChildren(
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...sets.map(row))),
  );
}

function row(set) {
  const types = set.types.length ? set.types.join(", ") : "none yet";
  const near = set.types.map((type) => `${type} ${set.max_distance[type] || "equal"}`);
  const changed = element("time", { datetime: set.changed });
  changes.push([changed, Date.parse(set.changed)]);
  const cells = [set.contributor || "–", number(set.items), number(set.signals), types, near.join(", ") || "–", changed];
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, set.name),
    ...cells.map((cell, place) => element("td", { "data-name": COLUMNS[place + 1] }, cell)),
  );
}

// Says how long ago each set changed, at the server's `now` in ms.
export function aged(now) {
  for (const [where, then] of changes) tell(where, ago(Math.max(0, now - then) / 1000));
}
