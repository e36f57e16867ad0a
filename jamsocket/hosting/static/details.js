// The chosen backend: what it is, what became of it, what it uses, what it wrote.

import { Chart } from "./chart.js";
import { bytes, clock, duration, element, percent, say } from "./dom.js";
import { Log } from "./log.js";
import { Bar, took } from "./timeline.js";

// As many as the server keeps.
const MOST_MEASUREMENTS = 150;

const REASONS = {
  swept: "nobody was connected for too long, or its lifetime was over",
  external: "it was asked to",
  startuptimeout: "it did not answer in time",
  keyexpired: "its key has expired",
  lost: "its machine was lost",
  internalerror: "the server failed",
};

/** Why a backend is gone, in short. */
export function outcome(backend) {
  const end = backend.statuses.at(-1);
  const reason = end.reason ? `${end.reason}${end.kind ? `, ${end.kind}` : ""}` : "by itself";
  return end.exit_code === undefined ? reason : `${reason} · exit code ${end.exit_code}`;
}

/** Whether it ended as nobody wanted. */
export function failed(backend) {
  const end = backend.statuses.at(-1);
  if (end.status !== "terminated") {
    return false;
  }
  return end.reason === undefined ? end.exit_code !== 0 : !["swept", "external"].includes(end.reason);
}

/** Where it runs, for people. */
export function place(backend) {
  const names = [backend.service, backend.environment];
  if (backend.account !== "-") {
    names.unshift(backend.account);
  }
  return names.filter(Boolean).join(" / ");
}

export class Details {
  constructor(node, backend, { now, api, close }) {
    this.backend = backend;
    this.now = now;
    this.api = api;
    this.usage = [];

    this.title = element("h2", { tabIndex: -1 });
    this.chip = element("span", { class: "chip" });
    this.open = element("button", { type: "button", textContent: "Open", onclick: () => this.#open() });
    this.end = element("button", { type: "button", class: "danger", onclick: () => this.#terminate() });
    const back = element("button", { type: "button", class: "quiet back", onclick: close, "aria-label": "All backends" });

    this.facts = {};
    const facts = element("dl", { class: "facts" });
    for (const name of ["Id", "Service", "Image", "Port", "Connections", "Running for", "Ended", "Command"]) {
      this.facts[name] = element("dd");
      const isLong = ["Ended", "Command"].includes(name);
      facts.append(element("div", { class: isLong ? "wide" : undefined }, element("dt", { textContent: name }), this.facts[name]));
    }

    this.bar = new Bar(now);
    this.first = element("span");
    this.last = element("span");
    this.rows = element("tbody");
    const heads = ["Status", "From", "Took"].map((text) => element("th", { textContent: text, scope: "col" }));
    const history = element(
      "section",
      { class: "history" },
      element("h3", { textContent: "History" }),
      this.bar.svg,
      element("div", { class: "times" }, this.first, this.last),
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)), this.rows),
    );

    this.charts = [
      new Chart("CPU", (each) => each.cpu, percent, 10),
      new Chart("Memory", (each) => each.memory, bytes, 8 * 1024 ** 2),
    ];
    const charts = element("section", { class: "charts", "aria-label": "Use" }, ...this.charts.map((each) => each.node));

    this.log = new Log(backend.id, () => this.isEnded);
    node.replaceChildren(
      element("div", { class: "head" }, back, this.title, this.chip, element("span", { class: "space" }), this.open, this.end),
      facts,
      history,
      charts,
      element("section", { class: "output" }, element("h3", { textContent: "Log" }), this.log.node),
    );
    this.update();
  }

  get isEnded() {
    return this.statuses.at(-1).status === "terminated";
  }

  /** Begins to listen, or does so again after the server was away. */
  async listen() {
    this.log.open(this.api.headers());
    try {
      const { usage } = await this.api.get(`/dashboard/backend/${encodeURIComponent(this.backend.id)}/usage`);
      this.#measured(usage);
    } catch {
      // The stream brings what comes from now on.
    }
  }

  deafen() {
    this.log.close();
  }

  /** Something of the backend is new. */
  update() {
    const { backend } = this;
    // What is shown, until the next update: the backend may learn of more in between.
    const statuses = (this.statuses = backend.statuses);
    const present = statuses.at(-1);
    say(this.title, backend.key ?? backend.id);
    say(this.chip, present.status);
    this.chip.className = `chip ${failed(backend) ? "failed" : present.status}`;
    const isLeaving = ["terminating", "hard-terminating", "terminated"].includes(present.status);
    this.open.hidden = backend.key === null || isLeaving;
    this.end.hidden = this.isEnded;
    this.end.disabled = present.status === "hard-terminating";
    say(this.end, present.status === "terminating" || this.end.disabled ? "Kill" : "Terminate");

    this.#fact("Id", backend.key === null ? null : backend.id);
    this.#fact("Service", place(backend));
    this.#fact("Image", backend.digest.slice(7, 19));
    this.#fact("Command", backend.command.join(" "));
    this.#fact("Port", this.isEnded ? null : String(backend.port));
    this.#fact("Connections", this.isEnded ? null : String(backend.connections));
    const why = present.reason ? ` – ${REASONS[present.reason]}` : "";
    this.#fact("Ended", this.isEnded ? `${outcome(backend)}${why}` : null);

    this.bar.draw(statuses);
    if (this.rows.childElementCount !== statuses.length) {
      const rows = statuses.map(({ status, time }) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, element("i", { class: `dot ${status}` }), status),
          element("td", { textContent: clock(time) }),
          element("td"),
        ),
      );
      this.rows.replaceChildren(...rows);
    }
    if (backend.usage && backend.usage.time > (this.usage.at(-1)?.time ?? 0)) {
      this.#measured([backend.usage]);
    }
    this.tick();
  }

  /** Time has passed. */
  tick() {
    const { statuses } = this;
    const now = this.now();
    const start = statuses[0].time;
    const end = this.isEnded ? statuses.at(-1).time : now;
    this.bar.show(start, end);
    say(this.first, clock(start));
    say(this.last, this.isEnded ? clock(end) : "now");
    this.#fact("Running for", this.isEnded ? null : duration(end - start));
    statuses.forEach((each, index) => {
      const length = took(statuses, index, now);
      say(this.rows.rows[index].cells[2], each.status === "terminated" ? "" : duration(length));
    });
    if (this.isEnded) {
      this.charts.forEach((chart) => chart.end("its end"));
    }
  }

  #measured(measurements) {
    const known = new Map([...this.usage, ...measurements].map((each) => [each.time, each]));
    this.usage = [...known.values()].sort((one, other) => one.time - other.time).slice(-MOST_MEASUREMENTS);
    this.charts.forEach((chart) => chart.draw(this.usage));
  }

  #fact(name, text) {
    this.facts[name].parentNode.hidden = text === null;
    say(this.facts[name], text ?? "");
  }

  #open() {
    const { account, service, environment, key } = this.backend;
    this.api.open([account, service, environment], { key, spawn: false });
  }

  async #terminate() {
    const hard = this.backend.statuses.at(-1).status === "terminating";
    this.end.disabled = true;
    try {
      await this.api.terminate(this.backend.id, hard);
    } finally {
      this.update();
    }
  }
}
