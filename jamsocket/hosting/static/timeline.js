// A backend's states as a bar, coloured by status, over time.

import { clock, drawing, duration } from "./dom.js";

export const STATUSES = [
  "scheduled",
  "loading",
  "starting",
  "waiting",
  "ready",
  "terminating",
  "hard-terminating",
  "terminated",
];

const FOR_EVER = 1e10;

/** The time between a state and the next one; up to now for the present one, nothing for the last of all. */
export function took(statuses, index, now) {
  if (statuses[index].status === "terminated") {
    return 0;
  }
  return Math.max(0, (statuses[index + 1]?.time ?? now) - statuses[index].time);
}

/** What there is to say of one state. */
export function words(statuses, index, now) {
  const { status, time } = statuses[index];
  const isPresent = index === statuses.length - 1;
  const length = status === "terminated" ? "" : ` · ${isPresent ? "for " : ""}${duration(took(statuses, index, now))}`;
  return `${status}${length}\nfrom ${clock(time)}`;
}

export class Bar {
  constructor(now) {
    this.now = now;
    this.svg = drawing("svg", { class: "timeline", preserveAspectRatio: "none", role: "img" });
    this.count = 0;
  }

  /** Draws the states. The numbers are milliseconds since the first one, because SVG's are of single precision. */
  draw(statuses) {
    this.statuses = statuses;
    this.start = statuses[0].time;
    const end = statuses.at(-1);
    this.end = end.status === "terminated" ? end.time : null;
    if (this.count === statuses.length) {
      return;
    }
    this.count = statuses.length;
    // Later ones first, so that short early ones, which are widened by their outline, stay in sight.
    const marks = statuses.map((each, index) => {
      const x = each.time - this.start;
      const next = statuses[index + 1]?.time;
      const width = each.status === "terminated" ? 0 : next === undefined ? FOR_EVER : next - each.time;
      const mark = drawing("rect", { x, y: 0, width, height: 1, class: each.status });
      mark.tip = () => words(statuses, index, this.now());
      return mark;
    });
    this.svg.replaceChildren(...marks.reverse());
  }

  /** Shows this part of the time. */
  show(from, to) {
    this.svg.setAttribute("viewBox", `${from - this.start} 0 ${Math.max(1, to - from)} 1`);
    const states = this.statuses.map((each, index) => {
      const length = took(this.statuses, index, this.now());
      return length ? `${each.status} ${duration(length)}` : each.status;
    });
    this.svg.setAttribute("aria-label", states.join(", "));
  }
}
