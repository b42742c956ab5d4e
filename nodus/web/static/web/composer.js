// Writes messages. Files are sent as soon as they are chosen, and hang on the message in the end.

import { call, getClient } from "./api.js";
import { abbreviate } from "./files.js";
import { conversation, explain, formatShare, formatSize, label, make, say } from "./words.js";

const PREVIEW_PX = 88;
const MAX_PREVIEW_BYTES = 30 * 2 ** 20;

const form = document.getElementById("composer");
const text = document.getElementById("text");
const tray = document.getElementById("uploads");
const problem = document.getElementById("problem");
const said = document.getElementById("said");

/** One file on its way, and its line in the tray. */
class Upload {
  constructor(file, { onChange, onRemove }) {
    Object.assign(this, { file, onChange, onRemove, attachment: null, error: null });
    this.element = make("upload");
    this.find(".kind").textContent = abbreviate(file.name);
    this.find(".name").textContent = file.name;
    this.find("progress").setAttribute("aria-label", file.name);
    label(this.find(".again"), say("retry", file.name));
    label(this.find(".cancel"), say("cancel", file.name));
    this.find(".again").addEventListener("click", () => this.start());
    this.find(".cancel").addEventListener("click", () => this.cancel());
    preview(file).then((picture) => picture && this.find(".kind").replaceChildren(picture), () => {});
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  get isRunning() {
    return !this.attachment && !this.error;
  }

  async start() {
    this.error = null;
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.show("queued");
    try {
      const client = await getClient();
      this.attachment = await client.upload(this.file, {
        signal,
        onState: (state) => this.show(state),
        onProgress: ({ loaded, total }) => this.showProgress(loaded / total),
      });
      label(this.find(".cancel"), say("remove", this.file.name));
      this.show("ready");
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
      label(this.find(".cancel"), say("remove", this.file.name));
      this.show("refused");
    }
    this.onChange();
  }

  cancel() {
    this.controller.abort();
    if (this.attachment) discard(this.attachment);
    this.onRemove(this);
  }

  show(state) {
    this.element.dataset.state = state;
    this.find(".again").hidden = state !== "refused";
    const progress = this.find("progress");
    progress.hidden = ["ready", "refused"].includes(state);
    if (state === "sending") return this.showProgress(0);
    progress.removeAttribute("value");
    const words = state === "refused" ? explain(this.error) : say(state);
    this.find(".state").textContent =
      state === "ready" ? `${formatSize(this.file.size)} · ${words}` : words;
    if (!progress.hidden) return;
    said.textContent = `${this.file.name}: ${words}`;
  }

  showProgress(share) {
    if (this.element.dataset.state !== "sending") return;
    this.find("progress").value = share;
    this.find(".state").textContent = say("sending", formatShare(share));
  }
}

/** It hangs on no message: what fails here, the purge does. */
async function discard({ id }) {
  await call(`attachments/${id}`, { method: "DELETE" }).catch(() => {});
}

/** A small picture of the file on a canvas, or null. */
async function preview(file) {
  if (!file.type.startsWith("image/") || file.size > MAX_PREVIEW_BYTES) return null;
  const bitmap = await createImageBitmap(file, { resizeHeight: PREVIEW_PX, resizeQuality: "medium" });
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

export class Composer {
  constructor(onSent) {
    Object.assign(this, { onSent, uploads: new Set(), isWaiting: false, isBusy: false });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    text.addEventListener("keydown", (event) => {
      const isSent = event.key === "Enter" && !event.shiftKey && !event.isComposing;
      if (!isSent || matchMedia("(pointer: coarse)").matches) return;
      event.preventDefault();
      this.send();
    });
    const chooser = document.getElementById("files");
    chooser.addEventListener("change", () => {
      this.attach(chooser.files);
      chooser.value = ""; // the same file may be chosen again
    });
    addEventListener("beforeunload", (event) => {
      if (this.uploads.size) event.preventDefault();
    });
    takePasted((files) => this.attach(files));
    takeDropped((files) => this.attach(files));
  }

  attach(files) {
    const options = {
      onChange: () => this.isWaiting && this.send(),
      onRemove: (upload) => this.remove(upload),
    };
    for (const file of files) {
      const upload = new Upload(file, options);
      this.uploads.add(upload);
      tray.append(upload.element);
      upload.start();
    }
    tray.lastElementChild?.scrollIntoView({ block: "nearest" });
    text.focus();
  }

  remove(upload) {
    this.uploads.delete(upload);
    upload.element.remove();
    said.textContent = `${upload.file.name}: ${say("cancelled")}`;
    this.complain("");
    text.focus();
    if (this.isWaiting) this.send();
  }

  /** Send the message, or wait for its files first. */
  async send() {
    const uploads = [...this.uploads];
    const isEmpty = !text.value.trim() && !uploads.length;
    if (this.isBusy || isEmpty) return this.wait(false);
    if (uploads.some(({ error }) => error)) {
      this.wait(false);
      return this.complain(say("stuck"));
    }
    this.complain("");
    this.wait(uploads.some(({ isRunning }) => isRunning));
    if (this.isWaiting) return;
    this.isBusy = true;
    try {
      const attachment_ids = uploads.map(({ attachment }) => attachment.id);
      const body = { text: text.value.trim(), attachment_ids };
      const path = `conversations/${conversation}/messages`;
      const message = await call(path, { method: "POST", body });
      text.value = "";
      for (const upload of uploads) {
        this.uploads.delete(upload);
        upload.element.remove();
      }
      this.onSent(message);
    } catch (error) {
      this.complain(say("unsent", explain(error)));
    } finally {
      this.isBusy = false;
    }
  }

  wait(isWaiting) {
    this.isWaiting = isWaiting;
    form.classList.toggle("is-waiting", isWaiting);
    if (isWaiting) said.textContent = say("waiting");
  }

  complain(words) {
    problem.textContent = words;
  }
}

function takePasted(take) {
  addEventListener("paste", (event) => {
    const { files, types } = event.clipboardData;
    // Office programs put a picture of the text beside it.
    const isText = types.includes("text/plain") && types.includes("text/html");
    if (!files.length || isText) return;
    event.preventDefault();
    take(files);
  });
}

function takeDropped(take) {
  const area = document.getElementById("conversation");
  const hasFiles = ({ dataTransfer }) => dataTransfer.types.includes("Files");
  let depth = 0;
  const show = (change) => {
    depth = change && depth + change;
    area.classList.toggle("is-dropping", depth > 0);
  };
  addEventListener("dragenter", (event) => hasFiles(event) && show(1));
  addEventListener("dragleave", (event) => hasFiles(event) && show(-1));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(0);
    take(event.dataTransfer.files);
  });
}
