// Follows the backend's states. What there is to say in the end, the server says: the page asks it anew and shows that.

import { follow, pause } from "./stream.js";

const ORDER = [
  "scheduled",
  "loading",
  "starting",
  "waiting",
  "ready",
  "terminating",
  "hard-terminating",
  "terminated",
];

watch();

async function watch() {
  const main = document.querySelector("main");
  const { stream, url } = main.dataset;
  if (!stream) {
    return; // it ended, or never was
  }
  const present = ORDER.indexOf(main.dataset.status);
  const enough = new AbortController();
  const refusal = await follow(stream, {
    signal: enough.signal,
    opened: () => showLost(false),
    lost: () => showLost(true),
    event: ({ data }) => {
      const status = ORDER.indexOf(JSON.parse(data).status);
      if (status <= present) {
        return;
      }
      showStep(status);
      if (status >= ORDER.indexOf("ready")) {
        enough.abort();
      }
    },
  });
  if (refusal || enough.signal.aborted) {
    await renew(url);
  }
}

/** Goes to the backend if it is ready, or shows what the server says now. */
async function renew(url) {
  for (let wait = 300; ; wait = Math.min(2 * wait, 5_000)) {
    try {
      const response = await fetch(location.href, { redirect: "manual", cache: "no-store" });
      if (response.type === "opaqueredirect") {
        location.replace(url);
        return;
      }
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const main = page.querySelector("main");
      if (main) {
        document.title = page.title;
        document.querySelector("main").replaceWith(main);
        watch();
        return;
      }
    } catch {
      // Not reached.
    }
    showLost(true);
    await pause(wait);
  }
}

function showStep(status) {
  for (const step of document.querySelectorAll(".steps li")) {
    const order = ORDER.indexOf(step.dataset.status);
    step.dataset.is = order < status ? "done" : order === status ? "now" : "next";
  }
}

function showLost(isLost) {
  document.querySelector(".lost").hidden = !isLost;
}
