// The browser's side of a session backend: what @jamsocket/client and @jamsocket/socketio do, in a page of plain files.

// Longer without any word of the backend, and it counts as lost. In milliseconds.
const SILENCE = 10_000;

/** Asks the web server for the room's backend. Returns the connect response. */
export async function join(room, name) {
  const response = await fetch(`rooms/${encodeURIComponent(room)}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
  });
  const answer = await response.json();
  if (!response.ok) {
    throw Object.assign(new Error(answer.message), { final: response.status === 400 });
  }
  return answer;
}

/**
 * Calls `onState` with every state of the backend: past ones, then each new one, once. `terminated` is the last; so is
 * `lost`, which is not the platform's but says that nobody can tell. Either way, `join` again leads on.
 */
export function follow(connection, onState) {
  const seen = new Set();
  const events = new EventSource(`${connection.status_url}/stream`);
  let alarm;

  function end(state) {
    clearTimeout(alarm);
    events.close();
    onState(state);
  }

  events.onopen = () => {
    clearTimeout(alarm);
    alarm = undefined;
  };
  events.onmessage = (event) => {
    const state = JSON.parse(event.data);
    if (seen.has(state.status)) {
      return; // The stream was interrupted, and tells everything again.
    }
    seen.add(state.status);
    if (state.status === "terminated") {
      end(state);
    } else {
      onState(state);
    }
  };
  events.onerror = () => {
    // It tries again by itself, unless the answer was an error.
    if (events.readyState === EventSource.CLOSED) {
      end({ status: "lost" });
    } else {
      alarm ??= setTimeout(() => end({ status: "lost" }), SILENCE);
    }
  };
}

/** Connects with the backend over Socket.IO. The token is a part of the path, and must stay in it. */
export function openSocket(connection) {
  const url = new URL(connection.url);
  const path = url.pathname.endsWith("/") ? url.pathname : `${url.pathname}/`;
  // Each call is a connection of its own: without forceNew, Socket.IO would share one by origin.
  return io(url.origin, { path: `${path}socket.io/`, forceNew: true, reconnectionDelayMax: 2_000 });
}
