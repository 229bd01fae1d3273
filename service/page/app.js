// The page: text in, entities marked in it as you type, and what the call looks like.

import { call, hasKey, Newest, Problem, ROOT, setKey } from "./api.js";
import { codeOf, jsonOf, LANGUAGES } from "./calls.js";
import { Correction } from "./correct.js";
import { listenForFiles } from "./files.js";
import { chipOf, render, toHtml } from "./marks.js";
import {
  alternativesTo, countCharacters, inUnits, moved, selected, wholeWords,
} from "./offsets.js";
import { Reasons } from "./reasons.js";
import { SAMPLES } from "./samples.js";
import { Tip } from "./tip.js";

const byId = (id) => document.getElementById(id);
const facts = document.documentElement.dataset;
const MOST_CHARACTERS = Number(facts.most);
const REDRAWN_AT_ONCE = 50_000; // a longer text is shown again when its answer is there
const N_BEST = 4, MOST_FOR_READINGS = 5000;
const LEAST_WAIT = 90, MOST_WAIT = 1500; // milliseconds without a key before the text is sent

const page = {
  text: "",
  answered: "", // the text that `answer` is of; null when something else is asked of it
  answer: null,
  entities: [], // of the text that is shown, all of them, in UTF-16 units
  models: [],
  model: undefined,
  hidden: new Set(), // labels
  threshold: 0, // off: the best reading
  least: 0,
  language: LANGUAGES[0],
  current: null,
  get labels() { return this.models.find(({ name }) => name === this.model)?.labels ?? []; },
  draw, say, fail,
};
const newest = new Newest();
const correction = new Correction(page);
const reasons = new Reasons(page);
const tip = new Tip(byId("reading"), (index) => shown()[index], choose);
let timer = 0, lastSeconds = 0;

/** Return the entities that the filters leave, or those of the correction. */
function shown() {
  return correction.draft ?? page.entities.filter(
    ({ label, score }) => score >= page.least && !page.hidden.has(label),
  );
}

function draw() {
  const entities = shown();
  tip.hide();
  render(byId("reading"), page.text, entities, page.current);
  const n = entities.length;
  const left = correction.draft ? 0 : page.entities.length - n;
  const counted = `${n.toLocaleString("en")} ${n === 1 ? "entity" : "entities"}`;
  const filtered = left ? `, ${left.toLocaleString("en")} filtered out` : "";
  say(page.text.trim() ? counted + filtered : "");
  drawLabels();
  drawCall();
  byId("correct").disabled = byId("copy-html").disabled = page.answered !== page.text;
}

function drawLabels() {
  const counts = new Map(page.labels.map((label) => [label, 0]));
  for (const { label } of correction.draft ?? page.entities) {
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const focused = document.activeElement?.closest?.("#labels button")?.dataset.label;
  byId("labels").replaceChildren(...[...counts].map(([label, count]) => {
    const chip = chipOf(label, count);
    chip.setAttribute("aria-pressed", String(!page.hidden.has(label)));
    chip.disabled = correction.draft !== null;
    return chip;
  }));
  if (focused) byId("labels").querySelector(`[data-label="${CSS.escape(focused)}"]`)?.focus();
}

/** Return the options of the call that has the answer beside it. */
function options() {
  const found = {};
  if (page.models.length && !page.models.find(({ name }) => name === page.model)?.default) {
    found.model = page.model;
  }
  if (page.hidden.size) found.labels = page.labels.filter((label) => !page.hidden.has(label));
  if (page.threshold) found.threshold = page.threshold;
  if (page.least) found.min_score = page.least;
  return found;
}

function drawCall() {
  byId("call").textContent = codeOf(page.language, ROOT.href, page.text, options(), needsKey());
  byId("answer").textContent = page.answer ? jsonOf(filteredAnswer()) : "";
  const { model } = page.answer ?? {};
  byId("model-shown").textContent = model ? `${model.name} ${model.version}` : "";
}

function filteredAnswer() {
  const wanted = ({ label, score }) => score >= page.least && !page.hidden.has(label);
  return { ...page.answer, entities: page.answer.entities.filter(wanted) };
}

const asksReadings = (text) => facts.readings === "true" && text.length <= MOST_FOR_READINGS;
const needsKey = () => facts.key === "true" || hasKey();

function say(text) {
  byId("status").textContent = text;
}

function fail(problem) {
  const isKey = problem.status === 401;
  byId("problem").hidden = false;
  byId("problem").textContent = problem instanceof Problem ? problem.message : String(problem);
  byId("problem").classList.toggle("passing", Boolean(problem.retryAfterSeconds));
  if (isKey && byId("key-form").hidden) askForKey(hasKey() ? problem.message : "");
  if (isKey && !hasKey()) byId("problem").hidden = true; // the form says it
}

function askForKey(reason) {
  byId("key-form").hidden = false;
  byId("problem").hidden = !reason;
  byId("problem").textContent = reason;
  byId("key").focus();
}

/** Take a text as it is typed: what is known is shown at once, and the rest asked for soon. */
function take(text, { atOnce = false } = {}) {
  const before = page.text;
  page.text = text.toWellFormed();
  page.current = null;
  reasons.hide();
  newest.drop();
  byId("size").textContent = `${countCharacters(page.text).toLocaleString("en")} characters`;
  if (page.text.length <= REDRAWN_AT_ONCE) {
    page.entities = moved(page.entities, before, page.text);
    draw();
  } else {
    page.entities = [];
    byId("correct").disabled = byId("copy-html").disabled = true;
    say("Reading …");
  }
  askSoon(atOnce ? 0 : Math.min(MOST_WAIT, Math.max(LEAST_WAIT, lastSeconds * 500)));
}

function askSoon(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(ask, milliseconds);
}

async function ask() {
  if (facts.key === "true" && !hasKey()) return;
  const { text, model } = page;
  const threshold = page.threshold || undefined;
  if (countCharacters(text) > MOST_CHARACTERS) {
    refuseLength(text);
    return;
  }
  const began = performance.now();
  try {
    const n_best = asksReadings(text) ? N_BEST : undefined;
    const body = { text, model, threshold, n_best };
    const found = await newest.run((signal) => call("v1/entities", body, signal));
    if (found === null) return;
    lastSeconds = (performance.now() - began) / 1000;
    const { sentences, ...answer } = found; // the call that is shown does not ask for these
    for (const entity of answer.entities) {
      if (sentences) entity.alternatives = alternativesTo(entity, sentences);
    }
    Object.assign(page, { answer, answered: text, entities: inUnits(text, answer.entities) });
    for (const entity of answer.entities) delete entity.alternatives;
    byId("problem").hidden = true;
    byId("key-form").hidden = true;
    if (correction.draft) return;
    draw();
  } catch (problem) {
    fail(problem);
    if (problem.retryAfterSeconds) askSoon(problem.retryAfterSeconds * 1000);
  }
}

function refuseLength(text) {
  const most = MOST_CHARACTERS.toLocaleString("en");
  const size = countCharacters(text).toLocaleString("en");
  fail(new Problem(413, `This text has ${size} characters; the service takes at most ${most}.`));
}

async function begin() {
  if (facts.key === "true" && !hasKey()) {
    askForKey("");
    return;
  }
  ask(); // with the default model, without waiting for the list
  try {
    const { models } = await call("v1/models");
    page.models = models;
    page.model ??= models.find((each) => each.default)?.name;
    byId("model").replaceChildren(...models.map((each) => {
      const option = new Option(each.name, each.name, each.default, each.name === page.model);
      if (each.language) option.textContent = `${each.name} (${each.language})`;
      return option;
    }));
    byId("choice").hidden = models.length < 2;
    byId("correct").hidden = facts.feedback !== "true";
    draw();
  } catch (problem) {
    fail(problem);
    if (problem.retryAfterSeconds) setTimeout(begin, problem.retryAfterSeconds * 1000);
  }
}

function choose(entity) {
  page.current = entity;
  if (correction.draft) correction.take(entity);
  else if (facts.explain === "true") reasons.ask(entity);
  for (const mark of byId("reading").querySelectorAll("[aria-current]")) {
    mark.removeAttribute("aria-current");
  }
  const index = shown().indexOf(entity);
  byId("reading").querySelector(`[data-index="${index}"]`)?.setAttribute("aria-current", "true");
}

function setText(text) {
  correction.draft && correction.end();
  byId("problem").hidden = true;
  byId("text").value = text;
  byId("text").scrollTop = byId("reading").scrollTop = 0;
  take(byId("text").value, { atOnce: true }); // with the line ends that the field makes of it
}

/** Copy a text, and as rich text what it is the source of. */
async function copy(text, html) {
  const write = (event) => {
    event.preventDefault();
    event.clipboardData.setData("text/plain", text);
    if (html) event.clipboardData.setData("text/html", html);
  };
  // navigator.clipboard is missing where a page is not served over HTTPS.
  document.addEventListener("copy", write, { once: true });
  const done = document.execCommand("copy");
  document.removeEventListener("copy", write);
  say(done ? "Copied." : "The browser did not allow copying.");
}

function listen() {
  byId("text").addEventListener("input", (event) => take(event.target.value));
  byId("clear").addEventListener("click", () => { setText(""); byId("text").focus(); });
  byId("examples").addEventListener("click", ({ target }) => {
    if (SAMPLES.has(target.textContent)) setText(SAMPLES.get(target.textContent));
  });
  byId("threshold").addEventListener("input", ({ target }) => {
    page.threshold = Number(target.value);
    const shown = page.threshold ? page.threshold.toFixed(2) : "off";
    byId("threshold-shown").textContent = shown;
    target.setAttribute("aria-valuetext", page.threshold ? shown : "off: the best reading");
    page.answered = null;
    take(page.text);
  });
  byId("least").addEventListener("input", ({ target }) => {
    page.least = Number(target.value);
    byId("least-shown").textContent = page.least.toFixed(2);
    draw();
  });
  byId("labels").addEventListener("click", ({ target }) => {
    const label = target.closest("button")?.dataset.label;
    if (label === undefined) return;
    if (!page.hidden.delete(label)) page.hidden.add(label);
    draw();
  });
  byId("model").addEventListener("change", ({ target }) => {
    page.model = target.value;
    page.hidden.clear();
    page.answered = null;
    take(page.text, { atOnce: true });
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setKey(byId("key").value.trim());
    byId("key").value = "";
    byId("key-form").hidden = true;
    byId("problem").hidden = true;
    begin();
  });
  byId("copy-html").addEventListener("click", () => {
    const html = toHtml(page.text, shown());
    copy(html, html);
  });
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => copy(
      button.dataset.copies === "call" ? byId("call").textContent : jsonOf(filteredAnswer(), true),
    ));
  }
  byId("reading").addEventListener("pointerup", () => {
    const stretch = facts.explain === "true" && !correction.draft ? selected(page.text) : null;
    if (!stretch || !page.labels.length) return;
    reasons.ask({ ...wholeWords(page.text, stretch), label: page.labels[0] });
  });
  listenForTabs();
  listenForFiles(MOST_CHARACTERS, setText, fail);
  addEventListener("online", () => askSoon(0));
}

function listenForTabs() {
  const select = (language) => {
    page.language = language;
    for (const tab of byId("languages").children) {
      const isSelected = tab.textContent === language;
      tab.setAttribute("aria-selected", String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
    }
    drawCall();
  };
  byId("languages").append(...LANGUAGES.map((language) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.textContent = language;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "call");
    tab.addEventListener("click", () => select(language));
    return tab;
  }));
  byId("languages").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = (LANGUAGES.indexOf(page.language) + step + LANGUAGES.length) % LANGUAGES.length;
    select(LANGUAGES[at]);
    byId("languages").children[at].focus();
  });
  select(page.language);
}

byId("docs").href = new URL("docs", ROOT).href;
byId("examples").append(...[...SAMPLES.keys()].map((name) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  return button;
}));
listen();
if (!byId("text").value) byId("text").value = SAMPLES.values().next().value;
page.text = byId("text").value.toWellFormed();
byId("size").textContent = `${countCharacters(page.text).toLocaleString("en")} characters`;
draw();
begin();
