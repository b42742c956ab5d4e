// Looks for new messages: the list of conversations tells where there are any.

import { conversation, formatBriefly } from "./words.js";

const PAUSE_MS = 3000;
const LONGEST_PAUSE_MS = 30_000;

const list = document.getElementById("conversations");
const key = `seen-${list.dataset.user}`;
let version = "";

/** Tell `onNews` the id of the newest message here, and `onSilence` whether the server is away. */
export function watchNews({ onNews = () => {}, onSilence = () => {} } = {}) {
  let pauseMs = PAUSE_MS;
  let timer = null;
  let isAway = false;

  function note(isAwayNow) {
    if (isAway !== isAwayNow) onSilence(isAwayNow);
    isAway = isAwayNow;
    pauseMs = isAway ? Math.min(pauseMs * 2, LONGEST_PAUSE_MS) : PAUSE_MS;
  }

  async function look() {
    clearTimeout(timer);
    timer = null;
    if (document.hidden) return; // until somebody looks again
    try {
      if (await refresh()) decorate();
      await onNews(findLatest());
      note(false);
    } catch {
      note(true);
    }
    clearTimeout(timer);
    timer = setTimeout(look, pauseMs);
  }

  decorate();
  timer = setTimeout(look, PAUSE_MS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  return look;
}

/** Ask for the list; whether there is something new. */
async function refresh() {
  const headers = version ? { "If-None-Match": version } : {};
  const response = await fetch(list.dataset.url, { headers, cache: "no-store" });
  if (response.redirected) {
    location.reload(); // to the login
    return false;
  }
  if (response.status === 304) return false;
  if (!response.ok) throw new Error(response.statusText);
  version = response.headers.get("ETag");
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.id;
  list.replaceChildren(...fresh.body.childNodes);
  if (focused) list.querySelector(`[data-id="${focused}"]`)?.focus();
  return true;
}

function findLatest() {
  return Number(list.querySelector(`[data-id="${conversation}"]`)?.dataset.latest ?? 0);
}

/** What the server does not know: which one is open, the clock of the reader, what was seen. */
function decorate() {
  const seen = JSON.parse(localStorage.getItem(key) ?? "{}");
  for (const link of list.querySelectorAll("[data-id]")) {
    const { id, latest } = link.dataset;
    if (Number(id) === conversation) {
      link.setAttribute("aria-current", "page");
      seen[id] = latest;
    }
    link.classList.toggle("unread", !("mine" in link.dataset) && Number(latest) > Number(seen[id] ?? 0));
    for (const time of link.querySelectorAll("time")) {
      time.textContent = formatBriefly(new Date(time.dateTime));
    }
  }
  localStorage.setItem(key, JSON.stringify(seen));
}
