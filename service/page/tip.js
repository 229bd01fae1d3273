// What is known of an entity, beside it: while the mouse is on it, or the keyboard has come to it.

const GAP = 6;

export class Tip {
  #pane;
  #tip = document.getElementById("tip");
  #entityAt;

  /** `entityAt(index)` is the entity of a mark; `onChoose(entity)` is called when one is chosen. */
  constructor(pane, entityAt, onChoose) {
    this.#pane = pane;
    this.#entityAt = entityAt;
    pane.addEventListener("mouseover", ({ target }) => this.#follow(target));
    pane.addEventListener("focusin", ({ target }) => this.#follow(target));
    pane.addEventListener("focusout", () => this.hide());
    pane.addEventListener("scroll", () => this.hide(), { passive: true });
    addEventListener("scroll", () => this.hide(), { passive: true });
    document.addEventListener("mouseover", ({ target }) => {
      if (!pane.contains(target) && !this.#tip.contains(target)) this.hide();
    });
    pane.addEventListener("click", ({ target }) => {
      const mark = target.closest(".entity");
      if (mark && getSelection().isCollapsed) onChoose(entityAt(Number(mark.dataset.index)));
    });
    pane.addEventListener("keydown", (event) => this.#onKey(event, onChoose));
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.hide());
  }

  hide() {
    if (this.#tip.hidden) return;
    this.#tip.hidden = true;
    this.#pane.querySelector("[aria-describedby]")?.removeAttribute("aria-describedby");
  }

  #onKey(event, onChoose) {
    const marks = this.#pane.getElementsByClassName("entity");
    const at = event.target.closest(".entity") ? Number(event.target.dataset.index) : -1;
    const last = marks.length - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: Math.max(0, at - 1), Home: 0, End: last };
    if (event.key in to && !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      marks[Math.min(to[event.key], last)]?.focus();
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
      event.preventDefault();
      onChoose(this.#entityAt(at));
    }
  }

  #follow(target) {
    const mark = target.closest?.(".entity");
    this.hide();
    const entity = mark && this.#entityAt(Number(mark.dataset.index));
    if (!entity) return;
    this.#fill(entity);
    this.#tip.hidden = false;
    mark.setAttribute("aria-describedby", "tip");
    const around = mark.getBoundingClientRect(), own = this.#tip.getBoundingClientRect();
    const below = around.bottom + GAP;
    const top = below + own.height <= innerHeight ? below : around.top - GAP - own.height;
    const left = Math.min(Math.max(GAP, around.left), innerWidth - own.width - GAP);
    this.#tip.style.setProperty("top", `${Math.max(GAP, top)}px`);
    this.#tip.style.setProperty("left", `${left}px`);
  }

  #fill(entity) {
    const rows = [["label", entity.label], ["score", entity.score.toFixed(3)]];
    for (const { said, probability } of entity.alternatives ?? []) {
      rows.push(["or", `${said}, ${probability.toFixed(3)}`]);
    }
    if (entity.source !== undefined) rows.push(["source", entity.source]);
    if (entity.id !== undefined) rows.push(["id", entity.id]);
    const list = document.createElement("dl");
    for (const [name, value] of rows) {
      const term = document.createElement("dt"), said = document.createElement("dd");
      const isolated = document.createElement("bdi");
      term.textContent = name;
      isolated.textContent = String(value);
      said.append(isolated);
      list.append(term, said);
    }
    this.#tip.replaceChildren(list);
  }
}
