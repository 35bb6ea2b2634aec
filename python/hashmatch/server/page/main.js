// Asks the server how it is every two seconds while the page can be seen.

import * as lookup from "./lookup.js";
import { counted, held, uncounted } from "./rates.js";
import { ask, askJson, Refused } from "./server.js";
import { aged, listed } from "./sets.js";
import { sentence, tell } from "./text.js";

const EVERY_MS = 2000;
const SLOWEST_MS = 30000;
const away = document.getElementById("away");
const trouble = document.getElementById("trouble");
// The newest state seen, and the one whose sets are shown.
let newest = 0;
let shown = "";
// Why there are no rates.
let uncountable = "";
// What the server's clock is ahead of ours.
let ahead = 0;

async function status() {
  const reply = await ask("v1/status");
  const date = Date.parse(reply.headers.get("date") ?? "");
  // It has whole seconds.
  if (Math.abs(date - Date.now()) > 2000) ahead = date - Date.now();
  return reply.json();
}

async function rates() {
  if (uncountable) return;
  try {
    const reply = await ask("metrics");
    counted(await reply.text(), performance.now());
  } catch (error) {
    // Whoever may look up hashes need not be let see the counts.
    if (!(error instanceof Refused) || error.status !== 403) throw error;
    uncountable = `No rates: ${error.message}`;
  }
}

// A set that is made is no generation of its own.
async function sets(now) {
  const state = `${now.generation} ${now.changed} ${now.sets}`;
  if (state === shown) return;
  const answer = await askJson("v1/sets");
  listed(answer.sets);
  if (answer.generation >= now.generation && answer.sets.length === now.sets) shown = state;
}

async function look() {
  const now = await status();
  await rates();
  // Another of the server's processes may be a moment behind.
  if (now.generation >= newest) {
    newest = now.generation;
    await sets(now);
    held(now);
  }
  if (uncountable) uncounted(uncountable);
  aged(Date.now() + ahead);
  tell(trouble, troubles(now));
}

// What is wrong, as the server says it.
function troubles({ trouble, writer_trouble, audit }) {
  const said = [];
  if (trouble) said.push(`No newer state is taken in, and the last good one is served: ${sentence(trouble)}`);
  if (writer_trouble) said.push(`No changes are made: ${sentence(writer_trouble)}`);
  if (audit.trouble) said.push(`Look-ups are not noted for the audit: ${sentence(audit.trouble)}`);
  return said.join(" ");
}

async function follow() {
  let wait = EVERY_MS;
  for (;;) {
    try {
      if (!document.hidden) await look();
      tell(away, "");
      wait = EVERY_MS;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      tell(away, `${error.message} What stands here is as it was; it is tried again.`);
      wait = Math.min(wait * 2, SLOWEST_MS);
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

lookup.start();
follow();
