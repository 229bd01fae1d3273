// Why: what each word of the sentence gives an entity, and what it would be with less around it.

import { call, Newest } from "./api.js";
import { chipOf } from "./marks.js";

const byId = (id) => document.getElementById(id);
const SAID = 0.005; // from half a percentage point on, what a word gives is written below it

export class Reasons {
  #newest = new Newest();

  /** `page` has `text`, `labels`, `model` and `fail(problem)`. */
  constructor(page) {
    this.page = page;
    byId("reasons-labels").addEventListener("click", ({ target }) => {
      const chip = target.closest("button");
      if (chip) this.ask({ ...this.span, label: chip.dataset.label });
    });
  }

  /** Show the reasons for a span with its label, whether it was found or not; `source` found it. */
  async ask({ start, end, label, source }) {
    this.span = { start, end, label };
    const { text, model } = this.page;
    const body = { text, model, spans: [this.span], offset_unit: "utf16" };
    try {
      const answer = await this.#newest.run((signal) => call("v1/explain", body, signal));
      if (answer?.entities.length) this.#draw(answer, source);
    } catch (problem) {
      if (source === undefined || problem.status !== 422) this.page.fail(problem);
      else this.#drawSource(text.slice(start, end), label, source);
    }
  }

  hide() {
    this.#newest.drop();
    byId("reasons").hidden = true;
  }

  #draw({ entities: [entity], sentences }, source) {
    const { words, readings } = sentences[entity.sentence];
    const chips = this.page.labels.map((label) => {
      const chip = chipOf(label);
      chip.setAttribute("aria-pressed", String(label === entity.label));
      return chip;
    });
    byId("reasons-labels").replaceChildren(...chips);
    this.#show(
      entity.text, entity.label,
      this.#words(entity, words), this.#bars(entity, source), this.#readings(readings),
    );
  }

  /** Of an entity that a rule has found, and the network cannot. */
  #drawSource(text, label, source) {
    byId("reasons-labels").replaceChildren();
    const why = "The model cannot find it: it does not know the label, or there are two sentences.";
    this.#show(text, label, element("p", "hint", `Found by ${source}. ${why}`));
  }

  #show(text, label, ...parts) {
    const name = element("bdi", "said", text);
    byId("reasons-title").replaceChildren("Why “", name, `” is ${label}, or not`);
    byId("reasons-body").replaceChildren(...parts);
    byId("reasons").hidden = false;
  }

  /** The words of the sentence: green speaks for the entity, red against it. */
  #words(entity, words) {
    const list = element("ol", "words");
    list.setAttribute("aria-label", "What each word gives, in percentage points");
    words.forEach((word, place) => {
      const gives = entity.gives?.[place] ?? 0;
      const item = element("li", gives < 0 ? "against" : "for");
      const said = element("bdi", "word", word.text);
      if (word.start >= entity.start && word.end <= entity.end) said.classList.add("own");
      if (!word.known) said.classList.add("unknown");
      const weight = Math.min(1, Math.abs(gives)) ** 0.6;
      said.style.setProperty("--weight", `${Math.round(weight * 75)}%`);
      const shown = Math.abs(gives) < SAID ? " " : points(gives);
      item.append(said, element("small", "", shown));
      list.append(item);
    });
    const box = element("div", "heat");
    box.append(list, element("p", "hint", "Points that the entity would lose (+) or gain (−) " +
      "without the word. Dotted: a word that the model does not know as a whole."));
    return box;
  }

  #bars(entity, source) {
    const list = element("dl", "bars");
    const rows = [
      ["whole sentence", entity.probability],
      ["words up to it", entity.left_only],
      ["words from it on", entity.right_only],
      ["it alone", entity.alone],
    ];
    for (const [name, value] of rows) {
      if (value === null || value === undefined) continue;
      const bar = element("span", "bar-of"), filled = element("span", "");
      filled.style.setProperty("inline-size", `${value * 100}%`);
      bar.append(filled);
      const said = element("dd", "");
      said.append(bar, percent(value));
      list.append(element("dt", "", name), said);
    }
    if (source) list.append(element("dt", "", "found by"), element("dd", "", source));
    return list;
  }

  #readings(readings) {
    const box = element("div", "readings");
    const list = element("ol", "");
    for (const { probability, entities } of readings ?? []) {
      const item = element("li", "", `${percent(probability)} `);
      if (!entities.length) item.append("no entities");
      for (const { text, label } of entities) {
        const chip = chipOf(label);
        const said = element("span", chip.className);
        said.append(element("bdi", "", text), " ", element("b", "", label));
        item.append(said, " ");
      }
      list.append(item);
    }
    box.append(element("h3", "", "Likeliest readings of the sentence"), list);
    return box;
  }
}

const percent = (value) => `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
const points = (value) => `${value < 0 ? "−" : "+"}${Math.round(Math.abs(value) * 100)}`;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
