// Everything around the board: the status, the notice, and what the side panel tells of people and backends.

const $ = (id) => document.getElementById(id);

// What the visitor reads for each state of the page.
const STATES = {
  connecting: "Connecting…",
  starting: "Starting…",
  live: "Live",
  lost: "Reconnecting…",
  ended: "Backend ended",
};

const REASONS = {
  external: "it was told to end",
  swept: "nobody was using it",
  keyexpired: "its lease ran out",
  lost: "its machine was lost",
  startuptimeout: "it did not start in time",
  internalerror: "the platform failed",
};

/** Sets the page's state; with a title and a text, the notice shows over the board. */
export function setState(state, title = "", text = "") {
  document.body.dataset.state = state;
  $("status").textContent = STATES[state];
  $("notice").hidden = !title;
  $("notice-title").textContent = title;
  $("notice-text").textContent = text;
}

export function setRoom(room) {
  $("room-name").textContent = room;
  document.title = `${room} · Whiteboard`;
}

export function setPeople(people, me) {
  $("people").replaceChildren(
    ...people.map(({ name, color }) => {
      const item = element("li", "", element("span", "dot"), element("span", "name", name));
      item.firstChild.style.background = color;
      if (name === me.name) {
        item.append(element("span", "you", "you"));
      }
      return item;
    }),
  );
}

/** Why a backend ended, in words. */
export function reasonOf({ termination_reason: reason, termination_kind: kind, exit_error: failed }) {
  if (reason) {
    return kind === "hard" && reason === "external" ? "it was killed" : (REASONS[reason] ?? reason);
  }
  return failed ? "it crashed" : "it came to its end";
}

/** Begins a new backend's list of states, and keeps the one before for comparison. */
export function addBackend(connection) {
  const states = element("ol", "states");
  const id = element("code", "", connection.backend_id);
  const card = element("div", "backend", element("div", "backend-head", id), states);
  card.dataset.backend = connection.backend_id;
  $("backends").prepend(card);
  while ($("backends").children.length > 2) {
    $("backends").lastChild.remove();
  }
  let first;
  return (state) => {
    const time = Date.parse(state.time ?? new Date().toISOString());
    first ??= time;
    const item = element("li", "", element("span", "", state.status), element("time", "", seconds(time - first)));
    item.dataset.status = state.status;
    states.append(item);
    card.classList.toggle("ended", ["terminated", "lost"].includes(state.status));
  };
}

/** Notes something that happened; the latest is on top. */
export function note(text) {
  const now = new Date().toLocaleTimeString("en-GB");
  $("activity").prepend(element("li", "", element("time", "", now), element("span", "", text)));
  while ($("activity").children.length > 20) {
    $("activity").lastChild.remove();
  }
}

function seconds(milliseconds) {
  return milliseconds < 60_000 ? `+${(milliseconds / 1000).toFixed(2)} s` : `+${Math.round(milliseconds / 60_000)} min`;
}

/** An element with a class, holding elements or text; what people type is never HTML. */
function element(tag, className, ...children) {
  const result = document.createElement(tag);
  result.className = className;
  result.append(...children);
  return result;
}
