// What the page says, in the language of the page.

const facts = JSON.parse(document.getElementById("facts")?.textContent ?? "{}");
export const { conversation = null, user = null, people = {}, texts = {} } = facts;

const language = document.documentElement.lang;
const DAY_MS = 24 * 3600 * 1000;
const UNITS = ["kilobyte", "megabyte", "gigabyte"];

/** The text of this name, its %s replaced. */
export function say(name, ...values) {
  return texts[name].replace(/%s/g, () => values.shift());
}

/** What an error says to people: the API in their language, the client by its code. */
export function explain(error) {
  return texts[error.code] ?? error.detail ?? texts.network_error;
}

export function formatSize(bytes) {
  let amount = Math.max(bytes, 103) / 1024;
  const unit = UNITS.find((name) => amount < 1000 || name === UNITS.at(-1) || !(amount /= 1024));
  const style = { style: "unit", unit, maximumFractionDigits: amount < 10 ? 1 : 0 };
  return new Intl.NumberFormat(language, style).format(amount);
}

export function formatShare(share) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(share);
}

export function formatDuration(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}

const format = (date, options) => new Intl.DateTimeFormat(language, options).format(date);
export const formatTime = (date) => format(date, { timeStyle: "short" });
export const formatMoment = (date) => format(date, { dateStyle: "long", timeStyle: "short" });

function countDaysAgo(date) {
  return Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / DAY_MS);
}

export function formatDay(date) {
  const daysAgo = countDaysAgo(date);
  if (daysAgo < 2) return say(daysAgo < 1 ? "today" : "yesterday");
  const isThisYear = date.getFullYear() === new Date().getFullYear();
  return format(date, { day: "numeric", month: "long", year: isThisYear ? undefined : "numeric" });
}

/** For the list of conversations. */
export function formatBriefly(date) {
  const daysAgo = countDaysAgo(date);
  if (daysAgo < 1) return formatTime(date);
  return format(date, daysAgo < 7 ? { weekday: "short" } : { day: "numeric", month: "short" });
}

/** The content of a <template>. */
export function make(name) {
  return document.getElementById(name).content.firstElementChild.cloneNode(true);
}

/** What a button or link with an icon does, for everybody. */
export function label(element, text) {
  element.setAttribute("aria-label", text);
  element.title = text;
}
