// A small chart of one number over time.

import { clock, drawing, element, say } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 60;

export class Chart {
  /**
   * @param title what it shows
   * @param pick a measurement -> the number
   * @param format the number -> a text
   * @param least what the axis goes up to at least
   */
  constructor(title, pick, format, least) {
    this.pick = pick;
    this.format = format;
    this.least = least;
    this.points = [];
    this.value = element("strong");
    this.most = element("span", { class: "most" });
    this.span = element("span");
    this.area = drawing("path", { class: "area" });
    this.line = drawing("path", { class: "line" });
    this.cursor = drawing("path", { class: "cursor" });
    this.svg = drawing(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.area,
      this.line,
      this.cursor,
    );
    this.svg.tip = (event) => this.#tip(event);
    this.svg.addEventListener("pointerleave", () => this.cursor.setAttribute("d", ""));
    this.title = title;
    this.node = element(
      "figure",
      { class: "chart" },
      element("figcaption", {}, title, this.most, this.value),
      element("div", { class: "plot" }, this.svg),
      element("div", { class: "times" }, this.span, element("span", { textContent: "now" })),
    );
    this.draw([]);
  }

  draw(measurements) {
    this.points = measurements.map((each) => [each.time, this.pick(each)]);
    this.svg.dataset.points = this.points.length;
    if (!this.points.length) {
      say(this.value, "not measured yet");
      return;
    }
    const values = this.points.map(([, value]) => value);
    this.top = Math.max(this.least, ...values) * 1.1;
    // From the left edge, also when there is only one.
    const first = `0 ${this.#y(values[0])}`;
    const course = [first, ...this.points.map(([time, value]) => `${this.#x(time)} ${this.#y(value)}`)].join("L");
    this.line.setAttribute("d", `M${course}`);
    this.area.setAttribute("d", `M0 ${HEIGHT}L${course}L${WIDTH} ${HEIGHT}Z`);
    const highest = Math.max(...values);
    say(this.value, this.format(values.at(-1)));
    say(this.most, `peak ${this.format(highest)}`);
    const seconds = Math.round((this.points.at(-1)[0] - this.points[0][0]) / 1_000);
    say(this.span, this.points.length === 1 ? "" : seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`);
    const label = `${this.title}: ${this.format(values.at(-1))}, at most ${this.format(highest)}`;
    this.svg.setAttribute("aria-label", label);
  }

  /** Says that the last measurement is not of now. */
  end(text) {
    say(this.node.querySelector(".times span:last-child"), text);
  }

  #x(time) {
    const [first, last] = [this.points[0][0], this.points.at(-1)[0]];
    return last === first ? WIDTH : (((time - first) / (last - first)) * WIDTH).toFixed(1);
  }

  #y(value) {
    return (HEIGHT - (value / this.top) * HEIGHT).toFixed(1);
  }

  #tip(event) {
    if (!this.points.length) {
      return "";
    }
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const distance = ([time]) => Math.abs(this.#x(time) - x);
    const near = this.points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
    this.cursor.setAttribute("d", `M${this.#x(near[0])} 0V${HEIGHT}`);
    return `${this.format(near[1])}\n${clock(near[0])}`;
  }
}
