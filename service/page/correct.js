// Corrections: a draft of all entities of a text, changed by selecting, and sent as feedback.

import { call } from "./api.js";
import { chipOf } from "./marks.js";
import { selected } from "./offsets.js";

const byId = (id) => document.getElementById(id);

export class Correction {
  draft = null; // the entities as they should be, or null when nothing is being corrected
  #stretch = null;
  #before = [];

  /** `page` has `text`, `entities`, `labels`, `model`, `draw()`, `say(text)`, `fail(problem)`. */
  constructor(page) {
    this.page = page;
    byId("correct").addEventListener("click", () => (this.draft ? this.end() : this.begin()));
    byId("discard").addEventListener("click", () => this.end());
    byId("send").addEventListener("click", () => this.#send());
    // A button must not take the selection away.
    byId("correction").addEventListener("pointerdown", (event) => event.preventDefault());
    byId("correction-labels").addEventListener("click", (event) => {
      const chip = event.target.closest("button");
      if (chip) this.#change(chip.dataset.label);
    });
    document.addEventListener("selectionchange", () => this.draft && this.#follow());
    byId("text").addEventListener("select", () => this.draft && this.#follow());
  }

  /** Begin with what the model has found: all of it, whatever is filtered. */
  begin() {
    this.#before = this.page.entities;
    this.draft = [...this.#before];
    const none = chipOf("Not an entity");
    none.className = "chip";
    delete none.dataset.label;
    byId("correction-labels").replaceChildren(
      ...this.page.labels.map((label) => chipOf(label)), none,
    );
    this.#show(true);
    this.#choose(null);
    this.page.draw();
  }

  end() {
    this.draft = null;
    this.#show(false);
    this.page.draw();
  }

  #show(isOn) {
    byId("correction").hidden = !isOn;
    byId("correct").setAttribute("aria-pressed", String(isOn));
    byId("reasons").hidden = true;
    byId("text").readOnly = isOn; // it can still be selected from
    for (const control of document.querySelectorAll("#least, #threshold, #labels button, #model")) {
      control.disabled = isOn; // what is sent are all entities, so all are shown
    }
  }

  /** Take an entity that was chosen as the stretch to be corrected. */
  take(entity) {
    this.#choose({ start: entity.start, end: entity.end });
  }

  #follow() {
    const found = selected(this.page.text);
    if (found) this.#choose(found);
  }

  #choose(stretch) {
    this.#stretch = stretch;
    const output = byId("stretch");
    if (stretch) {
      const said = document.createElement("bdi");
      const all = this.page.text.slice(stretch.start, stretch.end);
      said.textContent = all.length > 80 ? `${all.slice(0, 60)} … ${all.slice(-15)}` : all;
      output.replaceChildren("“", said, "” is");
    } else {
      output.replaceChildren(this.#counted());
    }
    for (const chip of byId("correction-labels").children) chip.disabled = !stretch;
    byId("send").disabled = !this.draft;
  }

  #counted() {
    const key = ({ start, end, label }) => `${start} ${end} ${label}`;
    const before = new Set(this.#before.map(key)), after = new Set(this.draft.map(key));
    const n = [...before].filter((each) => !after.has(each)).length +
      [...after].filter((each) => !before.has(each)).length;
    const hint = "Select words or an entity, and say what it is. All that is marked is sent";
    return n ? `${hint}: ${n} ${n === 1 ? "change" : "changes"}.` : `${hint}.`;
  }

  #change(label) {
    const { start, end } = this.#stretch;
    const others = this.draft.filter((each) => each.end <= start || each.start >= end);
    if (label !== undefined) others.push({ start, end, label, score: 1 });
    this.draft = others.sort((one, other) => one.start - other.start);
    getSelection().removeAllRanges();
    this.#choose(null);
    this.page.draw();
  }

  async #send() {
    const { text, model } = this.page;
    const entities = this.draft.map(({ start, end, label }) => ({ start, end, label }));
    byId("send").disabled = true;
    try {
      const body = { text, model, entities, offset_unit: "utf16" };
      const { correct, spurious, missed } = await call("v1/feedback", body);
      this.end();
      const found = `of the model's entities ${correct} right, ${spurious} wrong; ${missed} missed`;
      this.page.say(`Thank you. The correction is stored: ${found}.`);
    } catch (problem) {
      byId("send").disabled = false;
      this.page.fail(problem);
    }
  }
}
