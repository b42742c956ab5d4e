// Writes messages. Files are sent as soon as they are chosen, and hang on the message in the end.

import { call } from "./api.js";
import { conversation, explain, say } from "./words.js";

const form = document.getElementById("composer");
const text = document.getElementById("text");
const tray = document.getElementById("uploads");
const problem = document.getElementById("problem");
const said = document.getElementById("said");

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

  /** Send these files. What does it is fetched with the first of them. */
  async attach(list) {
    const files = [...list]; // it empties itself
    text.focus();
    let Upload;
    try {
      ({ Upload } = await import("./upload.js"));
    } catch {
      return this.complain(say("network_error"));
    }
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
    const words = text.value.trim();
    text.value = ""; // for what is written meanwhile
    try {
      const attachment_ids = uploads.map(({ attachment }) => attachment.id);
      const path = `conversations/${conversation}/messages`;
      const message = await call(path, { method: "POST", body: { text: words, attachment_ids } });
      for (const upload of uploads) {
        this.uploads.delete(upload);
        upload.element.remove();
      }
      this.onSent(message);
    } catch (error) {
      text.value = [words, text.value].filter(Boolean).join("\n");
      this.complain(say("unsent", explain(error)));
    } finally {
      this.isBusy = false;
    }
  }

  wait(isWaiting) {
    this.isWaiting = isWaiting;
    form.classList.toggle("is-waiting", isWaiting);
    if (isWaiting) this.complain(say("waiting"));
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
