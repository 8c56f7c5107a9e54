"use strict";
(() => {
  const form = document.getElementById("question");
  const state = document.getElementById("state");
  const answers = document.getElementById("answers");
  const submit = form.querySelector("button.main");
  const MODELS = ["base", "tuned"];

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function picture(uri, alt) {
    const image = element("img");
    image.src = uri;
    image.alt = alt;
    return image;
  }

  function pairOfImages(answer) {
    const pair = element("div", "pair");
    for (const model of MODELS) {
      const figure = element("figure", model);
      const image = picture(answer.images[model], `${model} model: ${answer.prompt}`);
      image.className = "drawn";
      figure.append(element("figcaption", "", model), image);
      pair.append(figure);
    }
    return pair;
  }

  function attention(answer) {
    const grid = element("div", "attention");
    grid.style.setProperty("--columns", answer.words.length);
    grid.append(element("span"));
    for (const word of answer.words) grid.append(element("span", `word ${word.role}`, word.text));
    for (const model of MODELS) {
      grid.append(element("span", `row-name ${model}`, model));
      for (const word of answer.words) {
        grid.append(picture(word.overlays[model], `attention of ${word.text} in the ${model} model`));
      }
    }
    const section = element("section", "where");
    section.append(element("h3", "", "Where each word looks"), grid);
    return section;
  }

  function show(answer) {
    const card = element("article", "answer");
    const head = element("div", "head");
    head.append(element("h2", "", answer.prompt), element("span", "quiet", `seed ${answer.seed}, ${answer.seconds.toFixed(1)} s`));
    const body = element("div", "body");
    body.append(pairOfImages(answer));
    if (answer.words.length) body.append(attention(answer));
    card.append(head, body);
    answers.prepend(card);
  }

  async function compare() {
    const question = { prompt: form.elements.prompt.value, seed: Number(form.elements.seed.value) };
    submit.disabled = true;
    state.className = "busy";
    state.textContent = "Drawing with both models";
    try {
      const response = await fetch("/compare", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
      });
      if (!response.ok) throw new Error(await response.text());
      show(await response.json());
      state.className = "";
      state.textContent = "";
    } catch (error) {
      state.className = "failed";
      state.textContent = error instanceof TypeError ? "The server gave no answer." : error.message;
    } finally {
      submit.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); compare(); });
  form.elements.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); }
  });
  document.getElementById("another").addEventListener("click", () => {
    form.elements.seed.value = Math.floor(Math.random() * 2 ** 32);
    form.requestSubmit();
  });
  for (const button of document.querySelectorAll(".suggestion")) {
    button.addEventListener("click", () => { form.elements.prompt.value = button.textContent; form.requestSubmit(); });
  }
})();
