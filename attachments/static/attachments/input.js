/** The element of attachments.forms.AttachmentInput: uploads what is chosen, and keeps the ids. */

import { createClient } from "./client.js";

const clients = new Map(); // one queue for all inputs of a page

function getClient(baseUrl) {
  if (!clients.has(baseUrl)) clients.set(baseUrl, createClient({ baseUrl }));
  return clients.get(baseUrl);
}

class AttachmentInput extends HTMLElement {
  connectedCallback() {
    if (this.input) return;
    this.input = this.querySelector("input[type=file]");
    this.list = this.querySelector("ul");
    this.status = this.querySelector("[role=status]");
    this.client = getClient(this.dataset.baseUrl);
    this.busy = new Set();
    this.input.addEventListener("change", () => this.takeFiles());
    this.input.form?.addEventListener("submit", (event) => this.holdForm(event));
    const initial = [...this.list.children];
    this.input.form?.addEventListener("reset", () => this.showAgain(initial));
    for (const item of this.list.children) {
      item.querySelector("button")?.addEventListener("click", () => this.drop(item));
    }
    this.updateRequired();
  }

  takeFiles() {
    const files = [...this.input.files];
    this.input.value = ""; // the same file may be chosen again
    if (!this.input.multiple) this.dropUnfinished();
    for (const file of files) this.upload(file);
  }

  async upload(file) {
    const item = this.showFile(file.name);
    const controller = new AbortController();
    item.act(this.dataset.cancel, () => {
      this.freeForm(); // the user decides anew
      controller.abort();
      this.drop(item.element);
    });
    this.busy.add(item);
    this.updateRequired();
    try {
      const attachment = await this.client.upload(file, {
        signal: controller.signal,
        onState: (state) => item.tell(this.dataset[state], state),
        onRetry: () => item.tell(this.dataset.again),
        onProgress: ({ loaded, total }) => item.progress(loaded / total),
      });
      this.keep(item, attachment);
    } catch (error) {
      if (controller.signal.aborted) return;
      const reason = this.dataset[error.code] ?? error.detail ?? error.message;
      item.tell(reason, "refused");
      item.act(this.dataset.retry, () => {
        item.element.remove();
        this.upload(file);
      });
      item.act(this.dataset.remove, () => this.drop(item.element), true);
      this.announce(file.name, reason);
      this.freeForm();
    } finally {
      this.busy.delete(item);
      this.updateRequired();
      if (!this.busy.size && this.heldBy) this.sendForm();
    }
  }

  keep(item, attachment) {
    if (!this.input.multiple) {
      for (const other of [...this.list.children]) if (other !== item.element) other.remove();
    }
    const hidden = document.createElement("input");
    Object.assign(hidden, { type: "hidden", value: attachment.id });
    hidden.name = this.querySelector("input[type=hidden]:disabled").name;
    item.element.append(hidden);
    item.finish();
    item.act(this.dataset.remove, () => {
      this.drop(item.element);
      this.client.remove(attachment.id).catch(() => {}); // else the purge does it
    });
    this.announce(attachment.filename, this.dataset.ready);
    this.dispatchEvent(new CustomEvent("attachment-ready", { bubbles: true, detail: attachment }));
  }

  drop(element) {
    this.announce(element.querySelector("span").textContent, this.dataset.removed);
    element.remove();
    this.updateRequired();
    this.input.focus();
  }

  dropUnfinished() {
    for (const item of this.busy) item.element.querySelector("button").click();
    for (const element of this.list.querySelectorAll("[data-state=refused]")) element.remove();
  }

  /** The browser asks for a file as long as there is none, and not for one that is on its way. */
  updateRequired() {
    const isThere = this.busy.size || this.list.querySelector("input[type=hidden]");
    this.input.required = "required" in this.dataset && !isThere;
  }

  holdForm(event) {
    if (!this.busy.size) return;
    event.preventDefault();
    this.heldBy = { form: event.target, submitter: event.submitter };
    this.status.textContent = this.dataset.waiting;
  }

  /** Send it no more by itself, whichever of its inputs holds it. */
  freeForm() {
    const inputs = this.input.form?.querySelectorAll("attachment-input") ?? [];
    for (const input of [this, ...inputs]) input.heldBy = null;
  }

  /** As the page was; what was uploaded since goes with the purge. */
  showAgain(items) {
    for (const { element } of this.busy) element.querySelector("button").click();
    this.list.replaceChildren(...items);
    this.status.textContent = "";
    this.updateRequired();
  }

  sendForm() {
    const { form, submitter } = this.heldBy;
    this.heldBy = null;
    form.requestSubmit(submitter);
  }

  announce(name, text) {
    this.status.textContent = `${name}: ${text}`;
  }

  /** A line of the list: its element, and what may change in it. */
  showFile(name) {
    const element = document.createElement("li");
    const [title, bar, note] = ["span", "progress", "small"].map((tag) =>
      document.createElement(tag),
    );
    title.textContent = name;
    bar.setAttribute("aria-label", name);
    bar.value = 0;
    element.append(title, bar, note);
    this.list.append(element);
    return {
      element,
      progress: (share) => (bar.value = share),
      finish: () => bar.remove(),
      tell(text, state) {
        note.textContent = text;
        if (state) element.dataset.state = state;
        if (state === "refused") bar.remove();
      },
      act(label, action, isSecond = false) {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", textContent: label, onclick: action });
        button.setAttribute("aria-label", `${label}: ${name}`);
        const last = element.querySelector("button");
        if (last && !isSecond) last.replaceWith(button);
        else element.append(button);
      },
    };
  }
}

customElements.define("attachment-input", AttachmentInput);
