// A backend's log as it is written.

import { element, say } from "./dom.js";
import { follow } from "./stream.js";

const MOST_LINES = 2_000;
// Colours and cursor movements, which are for terminals.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
// So near to its end, in pixels, and the log keeps to it.
const NEAR = 30;

export class Log {
  constructor(backendId, isOver) {
    this.backendId = backendId;
    this.isOver = isOver;
    this.lines = element("ol", { class: "lines" });
    this.box = element("div", { class: "log", role: "log", tabIndex: 0, "aria-label": "Log" }, this.lines);
    this.note = element("p", { class: "note", textContent: "Nothing written yet." });
    this.node = element("div", { class: "logbox" }, this.box, this.note);
    this.last = 0;
    this.waiting = [];
    this.stream = null;
  }

  open(headers) {
    this.close();
    this.stream = new AbortController();
    const { signal } = this.stream;
    follow(`/v2/backend/${encodeURIComponent(this.backendId)}/logs/stream`, {
      signal,
      headers,
      after: String(this.last || ""),
      isOver: this.isOver,
      event: ({ data, id }) => this.#add(Number(id), data),
    }).then((refusal) => {
      if (!signal.aborted) {
        say(this.note, refusal ? "The log is gone." : this.last ? "The end." : "It wrote nothing.");
        this.note.hidden = false;
      }
    });
  }

  close() {
    this.stream?.abort();
  }

  #add(number, text) {
    if (number <= this.last) {
      return;
    }
    if (number > this.last + 1) {
      const missing = number - this.last - 1;
      this.waiting.push(element("li", { class: "gap", textContent: `${missing} lines are not kept` }));
    }
    this.last = number;
    const line = text.replace(ESCAPES, "");
    this.waiting.push(element("li", { class: line.startsWith("jamsocket: ") ? "ours" : undefined, textContent: line }));
    if (this.waiting.length > 2 * MOST_LINES) {
      this.waiting.splice(0, MOST_LINES); // nobody looks
    }
    this.frame ??= requestAnimationFrame(() => this.#show());
  }

  #show() {
    this.frame = undefined;
    const isAtEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR;
    this.lines.append(...this.waiting.splice(0).slice(-MOST_LINES));
    while (this.lines.childElementCount > MOST_LINES) {
      this.lines.firstElementChild.remove();
    }
    this.note.hidden = true;
    if (isAtEnd) {
      this.box.scrollTop = this.box.scrollHeight;
    }
  }
}
