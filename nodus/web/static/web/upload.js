// One file on its way to the store: what becomes of it, in words, and how to cancel or retry it.

import { createClient } from "../attachments/client.js";
import { ROOT } from "./api.js";
import { abbreviate } from "./files.js";
import { explain, formatShare, formatSize, label, make, say } from "./words.js";

const PREVIEW_PX = 88;
const MAX_PREVIEW_BYTES = 30 * 2 ** 20;

const client = createClient({ baseUrl: ROOT });
const said = document.getElementById("said");

/** A line in the tray; `attachment` is there when it is ready, `error` if it was refused. */
export class Upload {
  constructor(file, { onChange, onRemove }) {
    Object.assign(this, { file, onChange, onRemove, attachment: null, error: null });
    this.element = make("upload");
    this.find(".kind").textContent = abbreviate(file.name);
    this.find(".name").textContent = file.name;
    this.find("progress").setAttribute("aria-label", file.name);
    label(this.find(".again"), say("retry", file.name));
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
      this.attachment = await client.upload(this.file, {
        signal,
        onState: (state) => this.show(state),
        onProgress: ({ loaded, total }) => this.showProgress(loaded / total),
      });
      this.show("ready");
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
      this.show("refused");
    }
    this.onChange();
  }

  cancel() {
    this.controller.abort();
    if (this.attachment) client.remove(this.attachment.id).catch(() => {}); // else the purge does it
    this.onRemove(this);
  }

  show(state) {
    this.element.dataset.state = state;
    this.find(".again").hidden = state !== "refused";
    const progress = this.find("progress");
    progress.hidden = ["ready", "refused"].includes(state);
    if (state === "sending") return this.showProgress(0);
    progress.removeAttribute("value");
    label(this.find(".cancel"), say(progress.hidden ? "remove" : "cancel", this.file.name));
    const words = state === "refused" ? explain(this.error) : say(state);
    this.find(".state").textContent =
      state === "ready" ? `${formatSize(this.file.size)} · ${words}` : words;
    if (progress.hidden) said.textContent = `${this.file.name}: ${words}`;
  }

  showProgress(share) {
    if (this.element.dataset.state !== "sending") return;
    this.find("progress").value = share;
    this.find(".state").textContent = say("sending", formatShare(share));
  }
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
