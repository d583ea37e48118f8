"use strict";
// The page is whole without this: it adds sorting, and one sound at a time.
for (const title of document.querySelectorAll("thead span")) {
  const button = document.createElement("button");
  button.type = "button";
  title.replaceWith(button);
  button.append(title);
  button.addEventListener("click", () => sort(button.closest("th")));
}

function sort(head) {
  const up = head.ariaSort !== "ascending";
  for (const other of head.parentNode.children) other.ariaSort = null;
  head.ariaSort = up ? "ascending" : "descending";
  const body = head.closest("table").tBodies[0];
  const key = (row) => row.cells[head.cellIndex].dataset.sort;
  const compare = (a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
    const way = up ? 1 : -1;
    if (head.cellIndex === 0) return way * key(a).localeCompare(key(b));
    return way * (Number(key(a)) - Number(key(b)));
  };
  body.append(...[...body.rows].sort(compare));
}

const buttons = new Map();
for (const video of document.querySelectorAll("video")) {
  video.controls = false;
  if (!("sound" in video.dataset)) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", () => listen(video, video.muted));
  buttons.set(video, button);
  video.closest("figure").append(button);
  show(video);
}

function listen(chosen, on) {
  for (const video of buttons.keys()) {
    video.muted = !(on && video === chosen);
    show(video);
  }
  start(chosen.closest(".row"));
}

function show(video) {
  const button = buttons.get(video);
  button.textContent = video.muted ? "sound" : "mute";
  button.setAttribute("aria-pressed", String(!video.muted));
}

// A clip's videos start together, so that lips can be compared.
function start(row) {
  for (const video of row.querySelectorAll("video")) {
    video.currentTime = 0;
    video.play().catch(() => {}); // what cannot play shows its first frame
  }
}

// Phones decode few videos at a time: rows out of sight rest.
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !still) start(target);
    else for (const video of target.querySelectorAll("video")) video.pause();
  }
});
for (const row of document.querySelectorAll(".row")) watch.observe(row);
if (still) {
  for (const video of document.querySelectorAll("video")) video.controls = true;
}
