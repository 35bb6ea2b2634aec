// Looks up a hash, or a file, and shows what matches.

import { differing, grid } from "./grid.js";
import { askJson } from "./server.js";
import { count, element, number, tell } from "./text.js";

const SHOWN = 50;
const form = document.getElementById("lookup");
const type = document.getElementById("type");
const distance = document.getElementById("distance");
const distanceNote = document.getElementById("distance-note");
const hash = document.getElementById("hash");
const digits = document.getElementById("digits");
const fault = document.getElementById("fault");
const drop = document.getElementById("drop");
const file = document.getElementById("file");
const answer = document.getElementById("answer");
const said = document.getElementById("said");
const list = document.getElementById("matches");
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
    lookUp(fault, () => ofHash(hash.value.replace(/\s+/g, "").toLowerCase()));
  });
  file.addEventListener("change", () => file.files.length && lookUp(said, () => ofFile(file.files[0])));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) lookUp(said, () => ofFile(event.dataTransfer.files[0]));
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
  const usual = type.selectedOptions[0].dataset.distance;
  distanceNote.textContent = `Without a distance that of each set counts, usually ${usual}.`;
}

// Shows what `look` finds, unless something else has been looked up meanwhile; or, in `where`, what
// is wrong.
async function lookUp(where, look) {
  const mine = ++asked;
  faulty(null);
  tell(fault, "");
  said.className = "";
  tell(said, "Looking it up …");
  answer.setAttribute("aria-busy", "true");
  try {
    const shown = await look();
    if (mine === asked) show(shown);
  } catch (error) {
    if (mine === asked) refused(error, where);
  } finally {
    if (mine === asked) answer.removeAttribute("aria-busy");
    file.value = "";
  }
}

function refused(error, where) {
  list.replaceChildren();
  tell(said, "");
  where.className = "trouble";
  tell(where, error.message);
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
  return { generation, found: probed(matches, type.value, code) };
}

async function ofFile(chosen) {
  const { generation, kind, reason, hashes, matches } = await askJson("v1/match/file", {
    method: "POST",
    headers: { "content-type": "application/octet-stream", accept: "application/json" },
    body: chosen,
  });
  const found = hashes.flatMap((each) => probed(matches[each.type] ?? [], each.type, each.hash));
  const named = { image: "a picture", video: "a video" }[kind] ?? "a file";
  return { generation, found, file: { name: chosen.name, named, reason, hashes, matches } };
}

// Matches, each with what was looked up.
function probed(matches, type, probe) {
  return matches.map((match) => ({ ...match, type, probe }));
}

function show({ generation, found, file }) {
  found.sort((one, other) => (one.distance ?? 0) - (other.distance ?? 0));
  const sets = new Set(found.map((match) => match.set)).size;
  const matches = found.length
    ? `${count(found.length, "match", "matches")} in ${count(sets, "set")}`
    : "nothing matches";
  const text = `${file ? `${file.name}, ${file.named}: ` : ""}${matches}, in generation ${number(generation)}.`;
  said.textContent = file ? text : text[0].toUpperCase() + text.slice(1);
  // On a small screen it is below what can be seen.
  if (said.getBoundingClientRect().bottom > innerHeight * 0.9) said.scrollIntoView();
  const left = found.length - SHOWN;
  list.replaceChildren(
    ...(file?.reason ? [element("p", { class: "note" }, `Not matched in full: ${file.reason}.`)] : []),
    ...(file ? [element("ul", { class: "hashes" }, ...file.hashes.map(hashed))] : []),
    ...found.slice(0, SHOWN).map(card),
    ...(left > 0 ? [element("p", { class: "note" }, `and ${number(left)} more`)] : []),
  );
}

function hashed({ type, hash, quality, frames }) {
  const what = frames ? count(frames.length, "frame") : element("code", {}, hash);
  const good = quality === undefined ? "" : `, quality ${quality}`;
  return element("li", {}, element("strong", {}, type), " ", what, good);
}

function card(match) {
  const drawn = match.hash && match.distance !== undefined && near(match.type);
  const bits = drawn ? differing(match.probe, match.hash) : null;
  const rows = [
    ["Set", match.set],
    ["Contributor", match.contributor || "–"],
    ["Kind", match.kind],
    ["Verdicts", chips(match.verdicts, "verdict")],
    ["Labels", chips(match.labels)],
  ];
  return element(
    "article",
    { class: drawn ? "sheet card" : "sheet card plain" },
    ...(drawn ? [grid(match.hash, bits)] : []),
    element(
      "div",
      { class: "about" },
      element("h3", {}, match.ref),
      ...nearness(match),
      element("dl", {}, ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))),
    ),
  );
}

// Whether hashes of a type match by how near they are, rather than by being equal.
function near(name) {
  return Number(type.querySelector(`[value="${name}"]`)?.dataset.distance ?? 0) > 0;
}

function nearness({ type, probe, distance, query_percent, video_percent }) {
  const of = (value, said) => [element("p", { class: "distance" }, element("strong", {}, value), said)];
  if (query_percent !== undefined) {
    const known = Math.round(video_percent);
    return of(`${Math.round(query_percent)} %`, ` of this video's frames, ${known} % of the known one's`);
  }
  if (distance === undefined) return [];
  return distance ? of(number(distance), ` of ${probe.length * 4} bits differ, by ${type}`) : of("Equal", `, by ${type}`);
}

function chips(words, kind = "") {
  if (!words.length) return element("span", { class: "quiet" }, "none");
  return element("span", {}, ...words.flatMap((word) => [element("span", { class: `chip ${kind}` }, word), " "]));
}
