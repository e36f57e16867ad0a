// Elements, numbers and times. Text is only ever set as text: whatever a backend says cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/** A new HTML element: its properties (`class` and `data-…`, `aria-…`, `role` as attributes), and what is in it. */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) {
      continue;
    }
    if (/^(class|role|for|data-|aria-)/.test(key)) {
      node.setAttribute(key, value);
    } else {
      node[key] = value;
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A new SVG element, with attributes. */
export function drawing(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/** Sets a node's text, if it is another one: the browser then has nothing to do. */
export function say(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export function duration(milliseconds) {
  if (milliseconds < 1_000) {
    return `${Math.round(milliseconds)} ms`;
  }
  const seconds = milliseconds / 1_000;
  if (seconds < 60) {
    return `${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) {
    return `${minutes} min ${Math.floor(seconds % 60)} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function clock(milliseconds) {
  const time = new Date(milliseconds);
  const pad = (number, digits = 2) => String(number).padStart(digits, "0");
  const hms = [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => pad(part)).join(":");
  return `${hms}.${pad(time.getMilliseconds(), 3)}`;
}

export function bytes(number) {
  const mega = number / 1024 ** 2;
  if (mega >= 1024) {
    return `${(mega / 1024).toFixed(2)} GiB`;
  }
  return `${mega < 100 ? mega.toFixed(1) : Math.round(mega)} MiB`;
}

export function percent(number) {
  return `${number < 10 ? number.toFixed(1) : Math.round(number)} %`;
}

/** Shows a text beside the pointer while it is over one of these marks (elements with `tip`, a function of the event). */
export function tips(tip) {
  document.addEventListener("pointermove", (event) => {
    const text = event.target.tip?.(event);
    tip.hidden = !text;
    if (text) {
      say(tip, text);
      const { width, height } = tip.getBoundingClientRect();
      tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, innerWidth - width - 8))}px`;
      tip.style.top = `${event.clientY + 16 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 16}px`;
    }
  });
  document.addEventListener("pointerleave", () => (tip.hidden = true));
}
