// The messages of the conversation, oldest first.

import { call } from "./api.js";
import { showFile } from "./files.js";
import {
  conversation,
  explain,
  formatDay,
  formatMoment,
  formatTime,
  make,
  people,
  say,
  user,
} from "./words.js";

const PAGE_SIZE = 30;
const NEAR_PX = 120;
const TOGETHER_MS = 5 * 60 * 1000;

const log = document.getElementById("log");
const list = document.getElementById("messages");
const older = document.getElementById("older");
const newest = document.getElementById("newest");
const isGroup = Object.keys(people).length > 2;

export class Messages {
  constructor(onProblem) {
    this.onProblem = onProblem;
    this.known = new Set();
    this.isOpen = false;
    this.checkedId = null; // the newest message at the last look
    this.olderQuery = null;
    older.addEventListener("click", () => this.showOlder());
    newest.addEventListener("click", () => this.goToNewest());
    log.addEventListener("scroll", () => {
      if (isAtEnd()) newest.hidden = true;
    });
    const isNear = { root: log, rootMargin: `${NEAR_PX * 4}px 0px 0px` };
    this.sentinel = new IntersectionObserver(([{ isIntersecting }]) => {
      if (isIntersecting) this.showOlder();
    }, isNear);
  }

  /** Show the newest page. */
  async open() {
    const page = await this.read(`?page_size=${PAGE_SIZE}`);
    this.insert(page.results);
    this.noteOlder(page);
    this.goToNewest();
    log.removeAttribute("aria-busy");
    this.isOpen = true;
    this.onProblem("");
    this.sentinel.observe(older);
  }

  async showOlder() {
    const query = this.olderQuery;
    if (!query) return;
    this.olderQuery = null;
    log.setAttribute("aria-busy", "true"); // what is old is no news
    try {
      const page = await this.read(query);
      const toEnd = log.scrollHeight - log.scrollTop;
      this.insert(page.results);
      log.scrollTop = log.scrollHeight - toEnd;
      this.noteOlder(page);
      this.sentinel.unobserve(older);
      this.sentinel.observe(older); // it may be in sight still
    } catch (error) {
      this.olderQuery = query;
      this.onProblem(explain(error));
    } finally {
      log.removeAttribute("aria-busy");
    }
  }

  /**
   * Show all that is newer than what is here, if `latestId` is not. One look more comes after it: a
   * message that was begun before the newest one may be there only after it.
   */
  async catchUp(latestId) {
    if (!this.isOpen) return this.open();
    if (!latestId || this.checkedId === latestId) return;
    const isKnown = this.known.has(latestId);
    const found = [];
    let page = { next: `?page_size=${PAGE_SIZE}` };
    do {
      page = await this.read(new URL(page.next, location.href).search);
      found.push(...page.results.filter(({ id }) => !this.known.has(id)));
    } while (page.next && this.known.size && !page.results.some(({ id }) => this.known.has(id)));
    if (found.length) this.add(found);
    this.checkedId = isKnown ? latestId : null;
  }

  /** Show new messages, and follow them where the end was in sight. */
  add(messages) {
    const isFollowed = isAtEnd();
    this.insert(messages);
    if (isFollowed) this.goToNewest();
    else newest.hidden = !messages.some(({ author_id }) => author_id !== user);
  }

  goToNewest() {
    log.scrollTop = log.scrollHeight;
    newest.hidden = true;
  }

  read(query) {
    return call(`conversations/${conversation}/messages${query}`);
  }

  noteOlder({ next }) {
    this.olderQuery = next && new URL(next).search;
    older.hidden = !next;
  }

  insert(messages) {
    for (const message of messages) {
      if (this.known.has(message.id)) continue;
      this.known.add(message.id);
      const element = this.show(message);
      const later = [...list.children].find(({ dataset }) => Number(dataset.id) > message.id);
      list.insertBefore(element, later ?? null);
    }
    arrange();
  }

  show(message) {
    const element = make("message");
    const isMine = message.author_id === user;
    const written = new Date(message.created_at);
    const find = (selector) => element.querySelector(selector);
    element.dataset.id = message.id;
    element.dataset.author = message.author_id;
    element.dataset.written = written.getTime();
    element.classList.toggle("is-mine", isMine);
    find(".author").textContent = isMine ? say("you") : (people[message.author_id] ?? say("somebody"));
    find(".author").classList.toggle("hidden", isMine || !isGroup);
    find(".text").textContent = message.text;
    Object.assign(find("time"), { dateTime: message.created_at, title: formatMoment(written) });
    find("time").textContent = formatTime(written);
    const onGone = (error) => {
      if (error) this.onProblem(say("undeleted", explain(error)));
      else sayWhatIsGone(element);
    };
    for (const file of message.attachments) {
      find(".files").append(showFile(file, { isMine, onGone }));
    }
    sayWhatIsGone(element);
    return element;
  }
}

function isAtEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
}

/** A message is never empty: its files were deleted. */
function sayWhatIsGone(element) {
  const text = element.querySelector(".text");
  const files = element.querySelector(".files");
  const pictures = files.querySelectorAll(":scope > .picture").length;
  files.classList.toggle("is-album", pictures > 1);
  text.hidden = !text.textContent && files.children.length > 0;
  element.classList.toggle("is-bare", text.hidden && pictures === files.children.length);
  if (text.textContent || files.children.length) return;
  text.textContent = say("gone");
  text.classList.add("muted");
}

/** Say each day once, and draw together what somebody wrote in one go. */
function arrange() {
  for (const day of list.querySelectorAll(".day")) day.remove();
  let before = null;
  for (const element of [...list.children]) {
    const written = new Date(Number(element.dataset.written));
    const day = formatDay(written);
    const isNewDay = day !== before?.day;
    if (isNewDay) list.insertBefore(makeDay(day), element);
    const { author } = element.dataset;
    const isNext = !isNewDay && author === before.author && written - before.written < TOGETHER_MS;
    element.classList.toggle("is-next", isNext);
    before = { day, author, written };
  }
  document.getElementById("hello").hidden = list.children.length > 0;
}

function makeDay(text) {
  const day = document.createElement("li");
  day.className = "day";
  day.textContent = text;
  return day;
}
