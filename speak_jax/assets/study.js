"use strict";
const study = JSON.parse(document.getElementById("study").textContent);
const at = (id) => document.getElementById(id);
const KEY = `speak-study-${study.study}`;
const MARKS = ["bad", "poor", "fair", "good", "excellent"];
const state = restored() ?? fresh();
// The seed fixes a circle; everyone enters it somewhere else, so that no clip
// is always the first or the last.
const order = study.items.map(
  (_, i) => study.items[(i + state.start) % study.items.length],
);
let seen = false;
let asked = 0;

function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fresh() {
  const rater = random();
  const start = parseInt(rater.slice(0, 8), 16) % study.items.length;
  return { rater, start, place: 0, answers: {} };
}

function restored() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
    return true;
  } catch {
    return false; // private windows: the rating goes on without
  }
}

function view(name) {
  for (const id of ["intro", "rate", "end"]) at(id).hidden = id !== name;
}

const item = () => order[state.place];
const marks = () => state.answers[item().id] ?? [];
const full = (id) => {
  const given = state.answers[id];
  return given === null || (given?.filter(Boolean).length === study.questions.length);
};

function question(q, i) {
  const field = document.createElement("fieldset");
  const legend = document.createElement("legend");
  const note = document.createElement("small");
  note.textContent = q.text;
  legend.append(q.title, note);
  const row = document.createElement("div");
  row.className = "marks";
  MARKS.forEach((word, m) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const small = document.createElement("small");
    Object.assign(input, { type: "radio", name: `q${i}`, value: m + 1 });
    input.addEventListener("change", () => answer(i, m + 1));
    small.textContent = word;
    label.append(input, String(m + 1), small);
    row.append(label);
  });
  field.append(legend, row);
  return field;
}

function open() {
  keep();
  if (state.place >= order.length) return finish();
  view("rate");
  const video = at("video");
  seen = item().id in state.answers;
  asked = 0;
  video.src = item().src;
  draw();
  video.play().catch(() => draw());
}

function draw() {
  if (state.place >= order.length) return;
  const done = full(item().id);
  at("where").textContent = `Clip ${state.place + 1} of ${order.length}`;
  at("bar").value = state.place / order.length;
  at("back").disabled = state.place === 0;
  at("next").disabled = !done;
  at("form").querySelectorAll("fieldset").forEach((field, i) => {
    field.classList.toggle("now", seen && i === asked && !done);
    for (const input of field.querySelectorAll("input")) {
      input.disabled = !seen;
      input.checked = marks()[i] === Number(input.value);
    }
  });
  at("hint").textContent = marksHint(done);
}

function marksHint(done) {
  if (state.answers[item().id] === null) return "This clip does not play here. Go on.";
  if (!seen) {
    const paused = at("video").paused && !at("video").ended;
    return paused ? "Press Play again to start." : "Watch to the end, then answer.";
  }
  return done ? "" : "Answer all questions to go on.";
}

function answer(i, mark) {
  if (!seen || i >= study.questions.length) return;
  const given = study.questions.map((_, k) => marks()[k] ?? null);
  given[i] = mark;
  state.answers[item().id] = given;
  const open = given.indexOf(null);
  asked = open < 0 ? study.questions.length - 1 : open;
  keep();
  draw();
}

function next() {
  if (at("rate").hidden || !full(item().id)) return;
  state.place += 1;
  open();
}

function back() {
  if (state.place === 0) return;
  state.place -= 1;
  open();
}

function replay() {
  at("video").currentTime = 0;
  at("video").play().catch(() => {});
  draw();
}

function finish() {
  view("end");
  at("video").pause();
  const rated = order.filter((one) => state.answers[one.id]).length;
  at("sum").textContent = `You rated ${rated} of ${order.length} clips.`;
}

function save() {
  const answers = Object.fromEntries(
    Object.entries(state.answers).filter(([id]) => full(id)),
  );
  const file = {
    format: "speak-study-answers",
    version: 1,
    study: study.study,
    rater: state.rater,
    answers,
  };
  const blob = new Blob([JSON.stringify(file, null, 1)], {
    type: "application/json",
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `answers-${state.rater}.json`;
  link.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (at("rate").hidden) return;
  const mark = Number(event.key);
  if (mark >= 1 && mark <= 5) answer(asked, mark);
  else if (event.key === "ArrowRight") next();
  else if (event.key === "ArrowLeft") back();
  else if (event.key === "Enter" && event.target.tagName !== "BUTTON") next();
  else if (event.key === " " && event.target.tagName !== "BUTTON") replay();
  else return;
  event.preventDefault();
});

at("video").addEventListener("ended", () => {
  seen = true;
  draw();
});
at("video").addEventListener("error", () => {
  // Left out of the answers rather than guessed.
  state.answers[item().id] = null;
  draw();
});
at("start").addEventListener("click", open);
at("next").addEventListener("click", next);
at("back").addEventListener("click", back);
at("return").addEventListener("click", back);
at("again").addEventListener("click", replay);
at("save").addEventListener("click", save);
at("form").append(...study.questions.map(question));
at("about").append(
  ...study.questions.map((q) => {
    const line = document.createElement("li");
    const bold = document.createElement("b");
    bold.textContent = q.title;
    line.append(bold, ": ", q.text);
    return line;
  }),
);
at("count").textContent = String(order.length);
at("unkept").hidden = keep();
if (Object.keys(state.answers).length) at("start").textContent = "Go on";
view("intro");
