"use strict";
(() => {
  const base = location.pathname.replace(/\/?$/, "/");
  const find = (id) => document.getElementById(id);
  const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" };
  const pictures = new Map();
  let steps = [];
  let at = 0;
  let busy = true;

  const isAnswered = (step) => step.choice !== null;

  function picture(name) {
    if (!pictures.has(name)) {
      const image = document.createElement("img");
      image.src = `${base}images/${name}`;
      image.alt = "";
      image.draggable = false;
      pictures.set(name, image);
    }
    return pictures.get(name);
  }

  function show() {
    const answered = steps.filter(isAnswered).length;
    const step = steps[at];
    find("bar").style.width = `${(100 * answered) / steps.length}%`;
    const progress = document.querySelector(".progress");
    progress.setAttribute("aria-valuemax", steps.length);
    progress.setAttribute("aria-valuenow", answered);
    find("count").textContent = `${answered} of ${steps.length}`;
    find("study").hidden = step === undefined;
    find("done").hidden = step !== undefined;
    find("back").disabled = at === 0;
    if (step === undefined) return;
    find("prompt").textContent = step.pair.prompt;
    find("question").textContent = step.question.text;
    for (const button of document.querySelectorAll(".image")) {
      button.replaceChildren(picture(step.pair[button.dataset.choice]));
    }
    for (const button of document.querySelectorAll(".choice")) {
      button.classList.toggle("chosen", step.choice === button.dataset.choice);
    }
    const next = steps.find((later, index) => index > at && later.pair !== step.pair);
    if (next) for (const side of ["left", "right"]) picture(next.pair[side]);
  }

  function goOn() {
    at += 1;
    if (at === steps.length) {
      const open = steps.findIndex((step) => !isAnswered(step));
      if (open >= 0) at = open;
    }
  }

  async function choose(choice) {
    const step = steps[at];
    if (busy || step === undefined) return;
    busy = true;
    find("message").textContent = "";
    try {
      const response = await fetch(`${base}answers`, {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ pair: step.pair.pair, question: step.question.name, choice }),
      });
      if (!response.ok) throw new Error(await response.text());
      step.choice = choice;
      goOn();
      show();
    } catch (error) {
      const reason = error instanceof TypeError ? "the server gave no answer" : error.message;
      find("message").textContent = `Not saved (${reason}). Choose again.`;
    } finally {
      busy = false;
    }
  }

  function goBack() {
    if (busy || at === 0) return;
    at -= 1;
    find("message").textContent = "";
    show();
  }

  async function start() {
    try {
      const response = await fetch(`${base}state`);
      if (!response.ok) throw new Error(await response.text());
      const state = await response.json();
      const given = new Map(state.answers.map((answer) => [`${answer.pair} ${answer.question}`, answer.choice]));
      steps = state.pairs.flatMap((pair) => state.questions.map((question) => (
        { pair, question, choice: given.get(`${pair.pair} ${question.name}`) ?? null })));
      const open = steps.findIndex((step) => !isAnswered(step));
      at = open < 0 ? steps.length : open;
      busy = false;
      show();
    } catch (error) {
      find("message").textContent = error instanceof TypeError ? "The server gives no answer. Reload this page later." : error.message;
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (event.key in KEYS) { event.preventDefault(); choose(KEYS[event.key]); }
    if (event.key === "ArrowUp") { event.preventDefault(); goBack(); }
  });
  for (const button of document.querySelectorAll(".choice")) {
    button.addEventListener("click", () => { button.blur(); choose(button.dataset.choice); });
  }
  find("back").addEventListener("click", goBack);
  start();
})();
