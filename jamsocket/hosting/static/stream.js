// Server-sent events over fetch, because EventSource can send no token and does not say why it failed.

// Between two attempts, in milliseconds.
const FIRST_WAIT = 300;
const LONGEST_WAIT = 5_000;

/**
 * Calls `event` with each event ({data, id}), and reconnects for as long as it takes, behind the last event if they have
 * ids. `opened` and `lost` tell of each connection. Returns null when `signal` aborts it, or `isOver` says so after the
 * stream's end; and the response if the server refuses (any answer but 200, 429 and 5xx).
 *
 * With `after`, it begins behind the event with that id. With `patience`, that many milliseconds without anything, also without a comment, count as a lost connection.
 */
export async function follow(url, options) {
  const { signal, headers = {}, after = "", patience, opened, event, lost, isOver = () => false } = options;
  let last = after;
  let wait = FIRST_WAIT;
  while (!signal.aborted) {
    const stall = new AbortController();
    try {
      const response = await fetch(url, {
        headers: last ? { ...headers, "Last-Event-ID": last } : headers,
        cache: "no-store",
        signal: AbortSignal.any([signal, stall.signal]),
      });
      if (response.status === 429 || response.status >= 500) {
        throw new Error(`HTTP ${response.status}`);
      }
      if (response.status !== 200) {
        return response;
      }
      opened?.();
      for await (const message of messages(response.body, stall, patience)) {
        if (signal.aborted) {
          return null;
        }
        wait = FIRST_WAIT;
        last = message.id ?? last;
        try {
          event(message);
        } catch (error) {
          reportError(error); // our own fault, not the connection's
        }
      }
      if (isOver()) {
        return null;
      }
    } catch {
      // Not reached, or broken off.
    } finally {
      stall.abort();
    }
    if (signal.aborted) {
      return null;
    }
    lost?.();
    await pause(wait * (0.5 + Math.random() / 2), signal);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
  return null;
}

/** Waits; not longer than until the signal. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function* messages(body, stall, patience) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  let message = {};
  let alarm;
  try {
    while (true) {
      if (patience) {
        alarm = setTimeout(() => stall.abort(), patience);
      }
      const { done, value } = await reader.read();
      clearTimeout(alarm);
      if (done) {
        return;
      }
      // Only LF ends a line: this server writes nothing else.
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (message.data !== undefined) {
            yield message;
          }
          message = {};
        } else if (!line.startsWith(":")) {
          const colon = line.indexOf(":");
          const text = line.slice(colon + 1);
          message[line.slice(0, colon)] = text.startsWith(" ") ? text.slice(1) : text;
        }
      }
    }
  } finally {
    clearTimeout(alarm);
  }
}
