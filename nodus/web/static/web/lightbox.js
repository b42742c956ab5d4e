// A picture as large as the window. <dialog> keeps the focus inside, and closes by Escape.

import { label, say } from "./words.js";

const box = document.getElementById("lightbox");
const find = (selector) => box.querySelector(selector);
const picture = find("img");
let buttons = [];
let place = 0;

/** Show the picture of this button, and lead to those of all the others in the messages. */
export function openPicture(button) {
  buttons = [...document.querySelectorAll("#messages .view")];
  show(buttons.indexOf(button));
  box.showModal();
}

function show(wanted) {
  place = (wanted + buttons.length) % buttons.length;
  const { name, source, save } = buttons[place].dataset;
  box.className = "is-loading";
  picture.src = source;
  picture.alt = name;
  find(".name").textContent = name;
  find(".count").textContent = say("count", place + 1, buttons.length);
  find(".save").href = save;
  label(find(".save"), say("download", name));
  for (const arrow of [find(".previous"), find(".next")]) arrow.hidden = buttons.length < 2;
}

picture.addEventListener("load", () => (box.className = ""));
picture.addEventListener("error", () => (box.className = "is-missing"));
find(".previous").addEventListener("click", () => show(place - 1));
find(".next").addEventListener("click", () => show(place + 1));
find(".close").addEventListener("click", () => box.close());
box.addEventListener("close", () => picture.removeAttribute("src"));
box.addEventListener("click", ({ target }) => {
  if (target === box) box.close();
});
box.addEventListener("keydown", ({ key }) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (step) show(place + step);
});
