// Looks up a hash, or a file, and shows what matches.

import { differing, grid } from "./grid.js";
import { askJson } from "./server.js";
import { count, element, number } from "./text.js";

const SHOWN = 50;
const form = document.getElementById("lookup");
const type = document.getElementById("type");
const distance = document.getElementById("distance");
const hash = document.getElementById("hash");
const digits = document.getElementById("digits");
const drop = document.getElementById("drop");
const file = document.getElementById("file");
const answer = document.getElementById("answer");
const said = document.getElementById("said");
const list = document.getElementById("matches");
const hidden = document.body.dataset.hidden === "distances";
let asked = 0;

export function start() {
  hash.addEventListener("input", counted);
  type.addEventListener("change", counted);
  hash.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lookUp(() => ofHash(hash.value.replace(/\s+/g, "").toLowerCase()));
  });
  file.addEventListener("change", () => file.files.length && lookUp(() => ofFile(file.files[0])));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) lookUp(() => ofFile(event.dataTransfer.files[0]));
  });
  // A file that misses the place for it must not take the page's.
  for (const event of ["dragover", "drop"]) addEventListener(event, (each) => each.preventDefault());
  counted();
}

function counted() {
  const given = hash.value.replace(/\s+/g, "").length;
  const wanted = Number(type.selectedOptions[0].dataset.digits);
  digits.textContent = given ? `${given} of ${wanted} digits` : `${wanted} digits`;
  distance.placeholder = `0 to ${wanted * 4}`;
}

// Shows what `look` finds, unless something else has been looked up meanwhile.
async function lookUp(look) {
  const mine = ++asked;
  faulty(null);
  said.className = "";
  said.textContent = "Looking it up …";
  answer.setAttribute("aria-busy", "true");
  try {
    const shown = await look();
    if (mine === asked) show(shown);
  } catch (error) {
    if (mine === asked) refused(error);
  } finally {
    if (mine === asked) answer.removeAttribute("aria-busy");
    file.value = "";
  }
}

function refused(error) {
  list.replaceChildren();
  said.className = "trouble";
  said.textContent = error.message;
  faulty({ hashes: hash, max_distance: distance, type }[(error.field ?? "").split(/[.[]/)[0]]);
}

function faulty(input) {
  for (const each of [hash, distance, type]) each.removeAttribute("aria-invalid");
  input?.setAttribute("aria-invalid", "true");
  input?.focus();
}

async function ofHash(code) {
  const body = { type: type.value, hashes: [code] };
  // What is no number is sent as it is: the server says what is wrong with it.
  const most = distance.value.trim();
  if (most) body.max_distance = /^\d+$/.test(most) ? Number(most) : most;
  const { generation, matches } = await askJson("v1/match", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
  return { generation, hashes: [{ type: type.value, hash: code, matches }] };
}

async function ofFile(chosen) {
  const found = await askJson("v1/match/file", {
    method: "POST",
    headers: { "content-type": "application/octet-stream", accept: "application/json" },
    body: chosen,
  });
  return { ...found, name: chosen.name };
}

// Each match once, though it may be of several frames, or of several hashes: the nearest of those.
function show({ generation, hashes, name, kind }) {
  const found = hashes.flatMap(({ type, hash, matches }) => matches.map((match) => ({ ...match, type, probe: hash })));
  found.sort((one, other) => (one.distance ?? 0) - (other.distance ?? 0) || one.signal - other.signal);
  const what = name === undefined ? "" : `${name}${kind ? ` (${kind})` : ""}: `;
  const sets = new Set(found.map((match) => match.set)).size;
  const matches = found.length ? `${count(found.length, "match", "matches")} in ${count(sets, "set")}` : "nothing matches";
  const text = `${what}${matches}, in generation ${number(generation)}.`;
  said.textContent = text[0].toUpperCase() + text.slice(1);
  const left = found.length - SHOWN;
  list.replaceChildren(
    ...(name === undefined ? [] : [element("ul", { class: "hashes" }, ...hashes.map(hashed))]),
    ...found.slice(0, SHOWN).map(card),
    ...(left > 0 ? [element("p", { class: "note" }, `and ${number(left)} more, further away`)] : []),
  );
}

function hashed({ type, hash, quality, matches }) {
  const good = quality === undefined || quality === null ? "" : `, quality ${quality}`;
  return element("li", {}, element("strong", {}, type), " ", element("code", {}, hash), `${good}, ${count(matches.length, "match", "matches")}`);
}

function card(match) {
  const bits = match.hash && !hidden ? differing(match.probe, match.hash) : null;
  const rows = [
    ["Set", match.set],
    ["Contributor", match.contributor || "–"],
    ["Kind", match.kind],
    ["Labels", chips(match.labels)],
    ["Verdicts", chips(match.verdicts, "verdict")],
  ];
  const title = element("h3", {}, match.ref);
  const near = match.distance === undefined ? [] : [element("p", { class: "distance" }, element("strong", {}, number(match.distance)), ` of ${match.probe.length * 4} bits differ`)];
  const about = rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return element(
    "article",
    { class: bits ? "sheet card" : "sheet card plain" },
    ...(bits ? [grid(match.hash, bits)] : []),
    element("div", { class: "about" }, title, ...near, element("dl", {}, ...about)),
  );
}

function chips(words, kind = "") {
  if (!words.length) return element("span", { class: "quiet" }, "none");
  return element("span", {}, ...words.flatMap((word) => [element("span", { class: `chip ${kind}` }, word), " "]));
}
