// The drawing: an SVG, so that it is sharp at every size and the browser keeps all of it on the screen.

const SVG = "http://www.w3.org/2000/svg";

export class Board {
  #svg;
  #paths = new Map(); // stroke id -> { element, points }
  #tags = new Map(); // name -> the name, beside what that person draws
  #me = { name: "", color: "#000" };
  #current = null;

  /**
   * @param svg the element; its viewBox is the board.
   * @param onDraw called with (id, points) while a stroke is being drawn: points that are new.
   * @param onStroke called with (id, points) when it is finished: all its points.
   */
  constructor(svg, { onDraw, onStroke }) {
    this.#svg = svg;
    let unsent = [];

    const send = () => {
      if (this.#current && unsent.length) {
        onDraw(this.#current.id, unsent);
      }
      unsent = [];
    };
    const add = (event) => {
      // A browser reports the mouse once per frame, and on request where it was in between.
      const events = event.getCoalescedEvents?.() ?? [];
      const points = (events.length ? events : [event]).map((each) => this.#position(each));
      if (!unsent.length) {
        requestAnimationFrame(send);
      }
      unsent.push(...points);
      this.#current.points.push(...points);
      this.#paint(this.#current.id, this.#me.color, this.#current.points);
    };

    svg.addEventListener("pointerdown", (event) => {
      if (this.enabled && event.isPrimary && event.button === 0) {
        event.preventDefault(); // No selecting or dragging of text, which would break off the stroke.
        svg.setPointerCapture(event.pointerId);
        this.#current = { id: crypto.randomUUID(), points: [] };
        add(event);
      }
    });
    svg.addEventListener("pointermove", (event) => {
      if (this.#current && event.isPrimary) {
        add(event);
      }
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      svg.addEventListener(kind, (event) => {
        if (this.#current && event.isPrimary) {
          const { id, points } = this.#current;
          this.#current = null;
          unsent = [];
          onStroke(id, points);
        }
      });
    }
  }

  get enabled() {
    return this.#svg.classList.contains("enabled");
  }

  set enabled(enabled) {
    this.#svg.classList.toggle("enabled", enabled);
  }

  /** Shows exactly these strokes. */
  reset(me, strokes) {
    this.#me = me;
    this.#svg.replaceChildren();
    this.#paths.clear();
    this.#tags.clear();
    for (const { id, color, points } of strokes) {
      this.#paint(id, color, points);
    }
    if (this.#current) {
      this.#paint(this.#current.id, me.color, this.#current.points);
    }
  }

  /** Adds points to somebody's stroke. */
  extend({ id, name, color, points }) {
    const before = this.#paths.get(id)?.points ?? [];
    this.#paint(id, color, [...before, ...points]);
    this.#tag(name, color, points.at(-1));
  }

  /** Shows a stroke as a whole, whatever has been seen of it before. */
  show({ id, name, color, points }) {
    this.#paint(id, color, points);
    this.#tag(name, color, points.at(-1));
  }

  #position(event) {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.#svg.getScreenCTM().inverse());
    return [Math.round(place.x * 10) / 10, Math.round(place.y * 10) / 10];
  }

  #paint(id, color, points) {
    let path = this.#paths.get(id);
    if (!path) {
      const element = document.createElementNS(SVG, "path");
      element.dataset.stroke = id;
      // In front of it are only the names.
      this.#svg.insertBefore(element, this.#svg.querySelector("text"));
      path = { element };
      this.#paths.set(id, path);
    }
    path.points = points;
    path.element.setAttribute("stroke", color);
    path.element.setAttribute("d", curve(points));
  }

  #tag(name, color, [x, y]) {
    const tag = this.#tags.get(name) ?? document.createElementNS(SVG, "text");
    this.#tags.set(name, tag);
    tag.textContent = name;
    tag.setAttribute("fill", color);
    tag.setAttribute("x", Math.min(x + 14, 1480));
    tag.setAttribute("y", Math.max(y - 14, 24));
    this.#svg.append(tag); // Again: that restarts its fading.
  }
}

/** A smooth line: each point pulls it, and it passes half way between one and the next. */
function curve(points) {
  const [[x, y]] = points;
  let path = `M${x} ${y}`;
  for (let i = 1; i < points.length - 1; i++) {
    const [[ax, ay], [bx, by]] = [points[i], points[i + 1]];
    path += `Q${ax} ${ay} ${(ax + bx) / 2} ${(ay + by) / 2}`;
  }
  // A line to itself makes a dot of a single point.
  const [endX, endY] = points.at(-1);
  return `${path}L${endX} ${endY}`;
}
