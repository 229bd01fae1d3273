// Entities marked in their text: on the page, and as HTML that needs no style sheet.
// The HTML is the same as that of model/text/marks.py; a test compares the two.

export const PALETTE = [
  ["#b0d9ff", "#154d8c"],
  ["#fdcb9b", "#783b00"],
  ["#a9e7be", "#005f2e"],
  ["#f3c3f5", "#6c3270"],
  ["#8fe7ec", "#005f67"],
  ["#deda98", "#584f00"],
  ["#ffc0bd", "#822b2e"],
  ["#d4cdff", "#4e3e89"],
  ["#c3e2a7", "#365900"],
  ["#ffc0e3", "#782c5c"],
];
const COLOURS = new Map(Object.entries({
  PER: 0, PERSON: 0, ORG: 1, ORGANIZATION: 1, LOC: 2, LOCATION: 2, GPE: 2, MISC: 3,
  DATE: 4, TIME: 4, MONEY: 5, EVENT: 6, PRODUCT: 7, FAC: 8, NORP: 9,
}));
const WEAKEST = 0.3;
const BLOCK = "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;" +
  "text-align:start;line-height:1.9";
const MARK = "color:#1c1b19;border-radius:4px;padding:2px 4px;unicode-bidi:isolate";
const LABEL = "font:600 .65em system-ui,sans-serif;letter-spacing:.03em;" +
  "margin-inline-start:.4em;unicode-bidi:isolate";
const ESCAPES = {
  "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "\r": "&#13;",
};
const LEAST_BLOCK = 4000;

const places = new Map();

/** Return the place of a label's colour: always the same for the same label (FNV-1a). */
export function colourOf(label) {
  if (!places.has(label)) {
    let digest = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(label)) {
      digest = Math.imul(digest ^ byte, 0x01000193) >>> 0;
    }
    places.set(label, COLOURS.get(label.toUpperCase()) ?? digest % PALETTE.length);
  }
  return places.get(label);
}

const strengthOf = (score) => WEAKEST + (1 - WEAKEST) * score;

/** Return the colour behind an entity: that of its label, mixed with white by the score. */
export function groundOf(label, score) {
  const strength = strengthOf(score);
  const full = PALETTE[colourOf(label)][0].slice(1).match(/../g).map((part) => parseInt(part, 16));
  const mixed = full.map((part) => Math.floor(255 - (255 - part) * strength + 0.5));
  return "#" + mixed.map((part) => part.toString(16).padStart(2, "0")).join("");
}

/** Return a text with its entities, whose offsets are in UTF-16, as a piece of HTML. */
export function toHtml(text, entities) {
  const pieces = [`<div style="${BLOCK}">`];
  let done = 0;
  for (const { start, end, label, score } of entities) {
    const ink = PALETTE[colourOf(label)][1];
    const shown = (Math.floor(score * 1000 + 0.5) / 1000).toFixed(3);
    pieces.push(
      escaped(text.slice(done, start)),
      `<mark style="${MARK};background:${groundOf(label, score)}" title="${shown}">`,
      `${escaped(text.slice(start, end))}<small style="${LABEL};color:${ink}">`,
      `${escaped(label)}</small></mark>`,
    );
    done = end;
  }
  return pieces.join("") + escaped(text.slice(done)) + "</div>";
}

const escaped = (text) =>
  text.toWellFormed().replace(/[&<>"'\r]/g, (character) => ESCAPES[character]);

/** Show a text with its entities in `pane`, whose textContent is then the text itself. */
export function render(pane, text, entities, current) {
  const blocks = [];
  let next = 0;
  for (let start = 0; start < text.length; ) {
    const [end, last] = endOfBlock(text, start, entities, next);
    const block = document.createElement("div");
    block.className = "block";
    let done = start;
    for (; next < last; next++) {
      const entity = entities[next];
      if (done < entity.start) block.append(text.slice(done, entity.start));
      block.append(markOf(text, entity, next, entity === current));
      done = entity.end;
    }
    if (done < end) block.append(text.slice(done, end));
    blocks.push(block);
    start = end;
  }
  pane.replaceChildren(...blocks);
}

/** Return where a block that starts here ends, within no entity, and the index of the first entity
 * behind it. */
function endOfBlock(text, start, entities, next) {
  let at = start + LEAST_BLOCK;
  for (;;) {
    const end = breakBehind(text, at);
    while (next < entities.length && entities[next].end <= end) next++;
    const crosses = next < entities.length && entities[next].start < end;
    if (!crosses) return [end, next];
    at = entities[next].end;
  }
}

/** Return the next end of a line or, where that is far, of a word: a block is laid out whole when
 * any of it is seen, and a line of 10,000 entities took two seconds. */
function breakBehind(text, at) {
  const near = text.slice(at, at + LEAST_BLOCK);
  const found = near.indexOf("\n") + 1 || near.indexOf(" ") + 1;
  return found ? at + found : text.indexOf("\n", at) + 1 || text.length;
}

function markOf(text, entity, index, isCurrent) {
  const mark = document.createElement("mark");
  mark.className = `entity hue-${colourOf(entity.label)}`;
  mark.dataset.label = entity.label;
  mark.dataset.index = index;
  mark.setAttribute("role", "button");
  mark.tabIndex = -1;
  mark.style.setProperty("--strength", `${Math.round(strengthOf(entity.score) * 100)}%`);
  if (isCurrent) mark.setAttribute("aria-current", "true");
  mark.textContent = text.slice(entity.start, entity.end);
  return mark;
}

/** Return a button that stands for a label. */
export function chipOf(label, count) {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.className = `chip hue-${colourOf(label)}`;
  chip.dataset.label = label;
  const name = document.createElement("bdi");
  name.textContent = label;
  chip.append(name);
  if (count !== undefined) {
    const shown = document.createElement("span");
    shown.className = "count";
    shown.textContent = count.toLocaleString("en");
    chip.append(" ", shown);
  }
  return chip;
}
