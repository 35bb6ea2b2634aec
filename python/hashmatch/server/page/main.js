// Asks the server how it is every two seconds while the page can be seen.

import * as lookup from "./lookup.js";
import { counted, held, uncounted } from "./rates.js";
import { ask, Refused } from "./server.js";
import { aged, listed } from "./sets.js";
import { tell } from "./text.js";

const EVERY_MS = 2000;
const SLOWEST_MS = 30000;
const away = document.getElementById("away");
const trouble = document.getElementById("trouble");
let generation = null;
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
  try {
    const reply = await ask("metrics");
    counted(await reply.text(), performance.now());
    return "";
  } catch (error) {
    // Whoever may look up hashes need not be let see the counts.
    if (!(error instanceof Refused) || error.status !== 403) throw error;
    return `No rates: ${error.message}`;
  }
}

async function look() {
  const now = await status();
  const why = await rates();
  if (now.generation !== generation) {
    const reply = await ask("v1/sets");
    listed((await reply.json()).sets);
    generation = now.generation;
  }
  held(now);
  if (why) uncounted(why);
  aged(Date.now() + ahead);
  tell(trouble, now.trouble ? `Trouble: ${now.trouble}. What was taken in before is still served.` : "");
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
