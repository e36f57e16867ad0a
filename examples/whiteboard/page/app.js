// From one backend to the next: join, wait until ready, draw; when the backend ends, begin again.

import { Board } from "./board.js";
import * as panel from "./panel.js";
import { follow, join, openSocket } from "./session.js";

// The pause before another attempt, in milliseconds; each failure in a row doubles it.
const PAUSE = 500;
const LONGEST_PAUSE = 10_000;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let socket = null;
// Our own strokes that no backend has confirmed yet: the next one gets them.
const unconfirmed = new Map();

const board = new Board(document.getElementById("board"), {
  onDraw: (id, points) => socket?.volatile.emit("draw", id, points),
  onStroke: (id, points) => {
    unconfirmed.set(id, points);
    save(id, points);
  },
});

function save(id, points) {
  socket?.emit("stroke", id, points, (saved) => {
    unconfirmed.delete(id);
    if (!saved) {
      panel.note("A stroke was not saved: the board is full");
    }
  });
}

/** Stays with one backend until its end; says whether it ever was of use. */
function stayWith(connection, isFirst) {
  return new Promise((resolve) => {
    const addState = panel.addBackend(connection);
    let wasLive = false;

    follow(connection, (state) => {
      addState(state);
      switch (state.status) {
        case "ready":
          socket = talk(connection, isFirst, () => {
            wasLive = true;
          });
          break;
        case "terminating":
        case "hard-terminating":
        case "terminated":
        case "lost": {
          const reason = state.status === "lost" ? "it does not answer" : panel.reasonOf(state);
          leave(`The backend ended: ${reason}.`);
          if (state.status === "terminated" || state.status === "lost") {
            panel.note(`Backend ended: ${reason}`);
            resolve(wasLive);
          }
          break;
        }
        default:
          panel.setState("starting", "Starting the room’s backend", `It is ${state.status}.`);
      }
    });
  });
}

/** Exchanges events with a backend that is ready. */
function talk(connection, isFirst, onLive) {
  const socket = openSocket(connection);
  let me = null;

  socket.on("room", ({ you, people, strokes }) => {
    const isReturn = me !== null;
    me = you;
    board.reset(you, strokes);
    panel.setPeople(people, me);
    for (const [id, points] of unconfirmed) {
      board.show({ id, ...you, points });
      save(id, points);
    }
    board.enabled = true;
    document.body.dataset.backend = connection.backend_id;
    panel.setState("live");
    const count = strokes.length === 1 ? "1 stroke" : `${strokes.length} strokes`;
    if (isReturn) {
      panel.note("Connection restored");
    } else {
      panel.note(isFirst ? `Joined: ${count} on the board` : `Back on a new backend: ${count} restored`);
    }
    onLive();
  });
  socket.on("draw", (stroke) => board.extend(stroke));
  socket.on("stroke", (stroke) => board.show(stroke));
  socket.on("people", (people) => me && panel.setPeople(people, me));
  socket.on("disconnect", () => {
    // Not by us: either the network, then Socket.IO connects again, or the backend, then its status will say so.
    if (document.body.dataset.state === "live") {
      board.enabled = false;
      panel.setState("lost", "Connection lost", "Trying again…");
    }
  });
  return socket;
}

function leave(title) {
  board.enabled = false;
  panel.setState("ended", title, "Connecting with a new one…");
  socket?.disconnect();
  socket = null;
}

async function run(room, name) {
  let failures = 0;
  let isFirst = true;
  for (;;) {
    try {
      const connection = await join(room, name);
      const wasLive = await stayWith(connection, isFirst);
      isFirst &&= !wasLive;
      failures = wasLive ? 0 : failures + 1;
    } catch (error) {
      failures += 1;
      panel.setState("connecting", "No connection", error.message);
      if (error.final) {
        return; // Asking again would not help.
      }
    }
    if (failures) {
      await pause(Math.min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE));
    }
  }
}

/** Asks for the name and the room; a link to the page can hold the room. */
function start() {
  const dialog = document.getElementById("join");
  const form = dialog.querySelector("form");
  const address = new URL(location.href);
  form.elements.room.value = address.searchParams.get("room") ?? "demo";
  form.elements.name.value = sessionStorage.getItem("name") ?? "";
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  form.addEventListener("submit", () => {
    const room = form.elements.room.value;
    const name = form.elements.name.value.trim();
    sessionStorage.setItem("name", name);
    address.searchParams.set("room", room);
    history.replaceState(null, "", address);
    panel.setRoom(room);
    panel.setState("connecting", "Connecting", "Asking for the room’s backend…");
    run(room, name);
  });
  dialog.showModal();
}

start();
