// The files of a message: pictures, recordings that play, and cards.

import { ROOT, call } from "./api.js";
import { openPicture } from "./lightbox.js";
import { formatDuration, formatSize, label, make, say } from "./words.js";

const PICTURES = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"];
const LARGEST = 320; // CSS pixels
const SMALLEST = 56;
const UNKNOWN = { width: 240, height: 180 }; // no worker has looked into it yet

const deletion = document.getElementById("deletion");

/** An address that always leads to a link that works now. */
function link(file, query = "") {
  return `${ROOT}/attachments/${file.id}/download${query}`;
}

/** The element of a ready file. Its owner may delete it: `onGone` is then called. */
export function showFile(file, { isMine, onGone }) {
  const [family] = file.content_type.split("/");
  const isPlayed = ["audio", "video"].includes(family) && canPlay(family, file.content_type);
  const element = PICTURES.includes(file.content_type)
    ? showPicture(file)
    : isPlayed
      ? showRecording(file, family)
      : showCard(file);
  if (isMine) element.append(makeRemover(file, element, onGone));
  return element;
}

function canPlay(family, contentType) {
  const type = contentType === "audio/opus" ? "audio/ogg; codecs=opus" : contentType;
  return document.createElement(family).canPlayType(type) !== "";
}

function showPicture(file) {
  const figure = make("picture");
  const [button, picture] = [figure.querySelector(".view"), figure.querySelector("img")];
  Object.assign(picture, fit(file.media), { src: file.thumbnail_url ?? link(file) });
  figure.classList.toggle("is-unknown", !file.media.width);
  label(button, say("open", file.filename));
  const save = link(file, "?disposition=attachment");
  Object.assign(button.dataset, { name: file.filename, source: link(file), save });
  button.addEventListener("click", () => openPicture(button));
  // A private link may have ended before the picture was scrolled to.
  picture.addEventListener("error", () => showAnew(file, picture), { once: true });
  return figure;
}

async function showAnew(file, picture) {
  picture.addEventListener("error", () => replaceByCard(file, picture), { once: true });
  try {
    picture.src = (await call(`attachments/${file.id}`)).thumbnail_url ?? link(file);
  } catch (error) {
    if (error.code !== "not_found") return replaceByCard(file, picture);
    picture.closest("figure").replaceWith(makeNote(say("gone")));
  }
}

function makeNote(text) {
  const note = document.createElement("p");
  note.className = "muted";
  note.textContent = text;
  return note;
}

function replaceByCard(file, picture) {
  picture.closest("button")?.replaceWith(showCard(file));
}

/** The size at which it is shown: it is kept free before the bytes come. */
function fit({ width, height }) {
  if (!width || !height) return UNKNOWN;
  const scale = Math.min(1, LARGEST / width, LARGEST / height);
  const [w, h] = [width, height].map((side) => Math.max(SMALLEST, Math.round(side * scale)));
  return { width: w, height: h };
}

function showRecording(file, family) {
  const figure = make("recording");
  const player = document.createElement(family);
  Object.assign(player, { controls: true, preload: "metadata", src: link(file) });
  if (family === "video") Object.assign(player, fit(file.media));
  player.setAttribute("aria-label", file.filename);
  figure.classList.add(family);
  figure.prepend(player);
  describe(figure, file);
  return figure;
}

function showCard(file) {
  const card = make("card");
  card.querySelector(".kind").textContent = abbreviate(file.filename);
  const save = card.querySelector(".save");
  save.href = link(file, "?disposition=attachment");
  label(save, say("download", file.filename));
  card.querySelector(".name").href = link(file);
  describe(card, file);
  return card;
}

function describe(element, { filename, size_bytes, media }) {
  const name = element.querySelector(".name");
  name.textContent = name.title = filename;
  const facts = [
    media.duration_seconds && formatDuration(media.duration_seconds),
    media.page_count && say("pages", media.page_count),
    formatSize(size_bytes),
  ];
  element.querySelector(".facts").textContent = facts.filter(Boolean).join(" · ");
}

/** What stands for a file without a picture: its extension. */
export function abbreviate(filename) {
  return /\.(\w{1,4})$/.exec(filename)?.[1].toUpperCase() ?? say("file");
}

function makeRemover(file, element, onGone) {
  const button = make("remove");
  label(button, say("delete", file.filename));
  button.addEventListener("click", async () => {
    if (!(await confirmDeletion(file))) return;
    try {
      await call(`attachments/${file.id}`, { method: "DELETE" });
      element.remove();
    } catch (error) {
      if (error.code !== "not_found") return onGone(error);
      element.remove();
    }
    onGone(null);
  });
  return button;
}

function confirmDeletion({ filename }) {
  deletion.querySelector(".name").textContent = filename;
  deletion.returnValue = "";
  deletion.showModal();
  return new Promise((resolve) => {
    deletion.onclose = () => {
      if (!deletion.open) resolve(deletion.returnValue === "delete"); // else it is open anew
    };
  });
}
