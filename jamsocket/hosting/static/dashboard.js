// The dashboard: what the server tells, put into lists.

import { Details, failed, outcome, place } from "./details.js";
import { bytes, element, percent, say, tips } from "./dom.js";
import { follow } from "./stream.js";
import { Bar, STATUSES } from "./timeline.js";

// The server sends a comment every 15 s. In milliseconds.
const PATIENCE = 40_000;
const MINUTE = 60_000;
// How far back the timelines can go; their lines, and the unit of the lines' marks.
const SPANS = [
  { name: "1 min", length: MINUTE, lines: 6, unit: "s" },
  { name: "10 min", length: 10 * MINUTE, lines: 5, unit: "min" },
  { name: "1 h", length: 60 * MINUTE, lines: 6, unit: "min" },
  { name: "6 h", length: 360 * MINUTE, lines: 6, unit: "h" },
  { name: "1 d", length: 1440 * MINUTE, lines: 6, unit: "h" },
  { name: "7 d", length: 7 * 1440 * MINUTE, lines: 7, unit: "d" },
];
const UNITS = { s: 1_000, min: MINUTE, h: 60 * MINUTE, d: 1440 * MINUTE };
const SHOWN_SPANS = 4;
const FEW = 20;
// So long a button that does much waits for its second click. In milliseconds.
const ARMED = 4_000;

const $ = (selector) => document.querySelector(selector);

const backends = new Map();
let services = [];
let server = null;
let skew = 0; // the server's clock, minus ours
let span = null; // null: whatever shows all that runs
let showsAll = false;
let details = null;
let stream = null;
let isLive = false;
let frame;

const now = () => Date.now() + skew;
const isEnded = (backend) => backend.statuses.at(-1).status === "terminated";
const isLeaving = (backend) => /terminat/.test(backend.statuses.at(-1).status);

// ── The server ──

const token = {
  get: () => sessionStorage.getItem("token"),
  set: (value) => sessionStorage.setItem("token", value),
  forget: () => sessionStorage.removeItem("token"),
};

function headers() {
  const value = token.get();
  // A header holds bytes: the token's, in UTF-8, each written as a character.
  return value ? { Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(value))}` } : {};
}

async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: { ...headers(), ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) {
    throw new Error(answer.error.message);
  }
  return answer;
}

const api = {
  headers,
  get: (path) => call("GET", path),

  async terminate(backendId, hard) {
    await complain(() => call("POST", `/v2/backend/${encodeURIComponent(backendId)}/terminate`, { hard }));
  },

  /** A new connection, in a tab of its own. */
  async open(names, request) {
    // At once, because browsers open no tab later on; and without a way back to this page.
    const tab = window.open("", "_blank");
    if (tab) {
      tab.opener = null;
    }
    const path = names.filter(Boolean).map(encodeURIComponent).join("/");
    await complain(async () => {
      try {
        const connection = await call("POST", `/v2/service/${path}/connect`, request);
        if (!tab) {
          throw new Error("The browser does not let this page open a tab.");
        }
        tab.location.replace(connection.ready_url);
      } catch (error) {
        tab?.close();
        throw error;
      }
    });
  },
};

async function complain(action) {
  const alert = $("#alert");
  alert.hidden = true;
  try {
    await action();
  } catch (error) {
    say(alert, error.message);
    alert.hidden = false;
  }
}

async function listen() {
  stream?.abort();
  stream = new AbortController();
  const { signal } = stream;
  const refusal = await follow("/dashboard/stream", {
    signal,
    headers: headers(),
    patience: PATIENCE,
    event: ({ data }) => receive(JSON.parse(data)),
    lost: () => showLink(false),
  });
  if (refusal && !signal.aborted) {
    refuse(refusal);
  }
}

function refuse(response) {
  details?.deafen();
  if (response.status === 401) {
    $("#refused").hidden = token.get() === null;
    token.forget();
    $("#login").hidden = false;
    $("main").hidden = true;
    showLink(false, "token wanted");
    $("#token").focus();
  } else {
    showLink(false, `refused: ${response.status}`);
  }
}

function receive(news) {
  if (news.server) {
    if (server && server.run !== news.server.run) {
      backends.clear();
      services = [];
      choose(null);
    }
    server = news.server;
    skew = server.now - Date.now();
    showLink(true);
    $("#login").hidden = true;
    $("main").hidden = false;
    $("#forget").hidden = token.get() === null;
  }
  if (news.ids) {
    const present = new Set(news.ids);
    [...backends.keys()].filter((id) => !present.has(id)).forEach((id) => backends.delete(id));
  }
  news.gone?.forEach((id) => backends.delete(id));
  if (news.services) {
    services = news.services;
    showServices();
  }
  for (const change of news.backends ?? []) {
    const backend = backends.get(change.id) ?? {};
    backends.set(change.id, Object.assign(backend, change));
    backend.isNew = true;
  }
  frame ??= requestAnimationFrame(show);
}

function showLink(isUp, text) {
  const link = $("#link");
  say(link, text ?? (isUp ? "live" : "the server cannot be reached, trying again…"));
  link.dataset.is = isUp ? "up" : "down";
  if (isUp !== isLive) {
    isLive = isUp;
    details?.deafen();
    if (isUp) {
      details?.listen();
    }
  }
}

// ── Services ──

function showServices() {
  const items = services.map((service) => {
    const names = [service.account_name, service.name].filter((name) => name !== "-");
    const title = names.join(" / ") || "Any service";
    const environments = service.environments.map(({ name, image_tag }) =>
      element("span", { class: "tag", textContent: `${name}: ${image_tag}` }),
    );
    const images = service.images.map(({ tag, digest, command }) =>
      element(
        "div",
        { class: "image" },
        element("span", { textContent: tag }),
        element("code", { textContent: command.join(" "), title: digest }),
      ),
    );
    const connect = element("button", {
      type: "button",
      textContent: "New backend",
      "aria-label": `New backend of ${title}`,
      onclick: () => api.open([service.account_name, service.name], {}),
    });
    const head = element("div", { class: "line" }, element("h3", { textContent: title }), ...environments);
    return element("li", {}, head, element("div", { class: "images" }, ...images), connect);
  });
  $("#services ul").replaceChildren(...items);
}

// ── Backends ──

class Row {
  constructor(backend) {
    this.backend = backend;
    this.bar = new Bar(now);
    this.dot = element("i");
    this.name = element("strong");
    this.more = element("small");
    this.cpu = element("span", { class: "number" });
    this.memory = element("span", { class: "number" });
    this.link = element(
      "a",
      { href: `#${backend.id}` },
      element("span", { class: "name" }, this.dot, this.name, this.more),
      element("span", { class: "track" }, this.bar.svg),
      element("span", { class: "use" }, this.cpu, this.memory),
    );
    this.node = element("li", {}, this.link);
  }

  update() {
    const { backend } = this;
    const status = backend.statuses.at(-1).status;
    this.dot.className = `dot ${failed(backend) ? "failed" : status}`;
    say(this.name, backend.key ?? backend.id);
    const facts = [status, place(backend).replace(/^-$/, ""), backend.key === null ? null : backend.id];
    if (isEnded(backend)) {
      facts[0] = outcome(backend);
    }
    say(this.more, facts.filter(Boolean).join(" · "));
    say(this.cpu, isEnded(backend) || !backend.usage ? "" : percent(backend.usage.cpu));
    say(this.memory, isEnded(backend) || !backend.usage ? "" : bytes(backend.usage.memory));
    this.bar.draw(backend.statuses);
  }
}

function show() {
  frame = undefined;
  for (const backend of backends.values()) {
    if (backend.isNew) {
      backend.isNew = false;
      backend.row ??= new Row(backend);
      backend.row.update();
    }
  }
  const all = [...backends.values()];
  const running = all.filter((each) => !isEnded(each)).sort((one, other) => begin(other) - begin(one));
  const ended = all.filter(isEnded).sort((one, other) => end(other) - end(one));
  const shown = showsAll ? ended : ended.slice(0, FEW);
  arrange($("#running"), running);
  arrange($("#ended"), shown);

  $("#backends").hidden = all.length === 0;
  $("#empty").hidden = all.length > 0;
  say($("#running-title"), `Running · ${running.length}`);
  $("#running-title").hidden = running.length === 0;
  say($("#ended-title"), `Ended · ${ended.length}`);
  $("#ended-title").hidden = ended.length === 0;
  const more = $("#more");
  more.hidden = ended.length <= FEW;
  say(more, showsAll ? "Show fewer" : `Show all ${ended.length}`);
  $("#terminate-all").hidden = !running.some((each) => !isLeaving(each));
  document.title = running.length ? `(${running.length}) Jamsocket dev` : "Jamsocket dev";

  const wanted = location.hash.slice(1);
  if (details ? details.backend !== backends.get(details.backend.id) : backends.has(wanted)) {
    choose(wanted);
  } else {
    details?.update();
  }
  tick();
}

const begin = (backend) => backend.statuses[0].time;
const end = (backend) => backend.statuses.at(-1).time;

/** Puts the rows in order; those that are where they should be are not touched. */
function arrange(list, wanted) {
  const keep = new Set(wanted.map((backend) => backend.row.node));
  [...list.children].filter((node) => !keep.has(node)).forEach((node) => node.remove());
  wanted.forEach(({ row }, index) => {
    if (list.children[index] !== row.node) {
      list.insertBefore(row.node, list.children[index] ?? null);
    }
  });
}

/** Time has passed: bars and ages move on. */
function tick() {
  const time = now();
  const rows = [...$("#running").children, ...$("#ended").children];
  const { length, lines, unit } = chosenSpan(time);
  const axis = $(".axis div");
  if (axis.dataset.length !== String(length)) {
    axis.dataset.length = length;
    const marks = Array.from({ length: lines }, (_, index) => {
      const ago = length - (index * length) / lines;
      return element("span", { textContent: `−${ago / UNITS[unit]} ${unit}` });
    });
    axis.replaceChildren(...marks, element("span", { textContent: "now" }));
    $("#backends").style.setProperty("--lines", lines);
  }
  if (rows.length) {
    for (const { row } of backends.values()) {
      if (row?.node.parentNode) {
        row.bar.show(time - length, time);
      }
    }
  }
  details?.tick();
}

function chosenSpan(time) {
  if (span) {
    return span;
  }
  const all = [...backends.values()];
  const running = all.filter((each) => !isEnded(each));
  const oldest = running.length ? Math.min(...running.map(begin)) : Math.max(0, ...all.map(begin));
  return SPANS.find(({ length }) => time - length < oldest) ?? SPANS.at(-1);
}

function choose(id) {
  details?.deafen();
  const backend = backends.get(id);
  const node = $("#details");
  document.querySelectorAll("[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
  document.body.dataset.has = backend ? "choice" : "none";
  node.hidden = !backend;
  if (!backend) {
    details = null;
    node.replaceChildren();
    return;
  }
  backend.row.link.setAttribute("aria-current", "true");
  details = new Details(node, backend, { now, api, close: () => (location.hash = "") });
  details.listen();
}

// ── What people do ──

$("#login").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set($("#token").value);
  $("#token").value = "";
  listen();
});

$("#forget").addEventListener("click", () => {
  token.forget();
  location.reload();
});

$("#more").addEventListener("click", () => {
  showsAll = !showsAll;
  show();
});

{
  const button = $("#terminate-all");
  let armed;
  const disarm = () => {
    clearTimeout(armed);
    armed = undefined;
    say(button, "Terminate all");
  };
  button.addEventListener("blur", disarm);
  button.addEventListener("click", () => {
    const running = [...backends.values()].filter((each) => !isLeaving(each));
    if (!armed) {
      armed = setTimeout(disarm, ARMED);
      say(button, `Really terminate ${running.length}?`);
      return;
    }
    disarm();
    running.forEach(({ id }) => api.terminate(id, false));
  });
}

addEventListener("hashchange", () => {
  choose(location.hash.slice(1));
  if (details) {
    $("#details").focus({ preventScroll: true });
  }
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && details) {
    const { link } = details.backend.row;
    location.hash = "";
    link.focus();
  }
});

// Browsers open six connections to a server at most, for all tabs together: a tab that nobody sees needs none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream?.abort();
    details?.deafen();
    isLive = false;
  } else if ($("#login").hidden) {
    listen();
  }
});

for (const each of [null, ...SPANS.slice(0, SHOWN_SPANS)]) {
  const input = element("input", { type: "radio", name: "span", checked: each === null });
  input.addEventListener("change", () => {
    span = each;
    tick();
  });
  $("#spans").append(element("label", {}, input, element("span", { textContent: each ? each.name : "Auto" })));
}

for (const status of STATUSES) {
  $("#legend").append(element("li", {}, element("i", { class: `dot ${status}` }), status));
}

{
  const port = location.port || (location.protocol === "https:" ? "443" : "80");
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const client = local
    ? `Jamsocket(dev=True, port=${port})`
    : `Jamsocket(account="-", token="…", service="-", api_url="${location.origin}")`;
  say(
    $("#empty code"),
    `from jamsocket import Jamsocket\n\nwith ${client} as jamsocket:\n` +
      '    connection = jamsocket.connect(key="my-document")\n    print(connection.ready_url)\n',
  );
  const button = $("#empty button");
  button.addEventListener("click", async () => {
    const text = $("#empty code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      getSelection().selectAllChildren($("#empty code")); // no permission, or no TLS: one key away
      say(button, "Press Ctrl+C");
    }
    setTimeout(() => say(button, "Copy"), 2_000);
  });
}

tips($("#tip"));
setInterval(() => document.hidden || tick(), 1_000);
if (!document.hidden) {
  listen();
}
