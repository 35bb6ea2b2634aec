// Requests to the server, with the token of whoever sits here, which lives as long as the tab.

import { sentence } from "./text.js";

const KEPT = "hashmatch.token";

const dialog = document.getElementById("ask");
const form = document.getElementById("ask-form");
const entered = document.getElementById("token");
const fault = document.getElementById("ask-fault");
const forget = document.getElementById("forget");

// Why there is no answer. `status` is 0 if there was none at all.
export class Refused extends Error {
  constructor(status, detail, field = "") {
    super(detail);
    this.status = status;
    this.field = field;
  }
}

let waiting = null;

// The reply to a request that is let in; asks for a token where one is needed.
export async function ask(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEPT);
    const headers = { ...options.headers };
    if (token) headers.authorization = `Bearer ${token}`;
    let reply;
    try {
      reply = await fetch(path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
    } catch {
      throw new Refused(0, "The server cannot be reached.");
    }
    if (reply.ok) return reply;
    const problem = await problemOf(reply);
    if (reply.status !== 401) throw problem;
    // Another request may have asked for it meanwhile.
    if (token === sessionStorage.getItem(KEPT)) await tokenAsked(token ? problem.message : "");
  }
}

export async function askJson(path, options) {
  const reply = await ask(path, options);
  return reply.json();
}

async function problemOf(reply) {
  try {
    const { detail, title, field } = await reply.json();
    return new Refused(reply.status, sentence(detail || title), field);
  } catch {
    return new Refused(reply.status, `The server answered ${reply.status} ${reply.statusText}.`);
  }
}

function tokenAsked(why) {
  waiting ??= new Promise((done) => {
    fault.textContent = why;
    fault.hidden = !why;
    entered.value = "";
    dialog.showModal();
    form.onsubmit = (event) => {
      event.preventDefault();
      const token = entered.value.trim();
      if (!token) return;
      entered.value = "";
      sessionStorage.setItem(KEPT, token);
      dialog.close();
      noted();
      waiting = null;
      done();
    };
  });
  return waiting;
}

// Nothing can be shown without one: it is asked for until there is one.
dialog.addEventListener("cancel", (event) => event.preventDefault());

forget.addEventListener("click", () => {
  sessionStorage.removeItem(KEPT);
  location.reload();
});

function noted() {
  forget.hidden = !sessionStorage.getItem(KEPT);
}

noted();
