// From characters, which the service counts, to UTF-16 units, which JavaScript counts; and edits.

const SURROGATE = /[\ud800-\udfff]/;

/** Return entities with their offsets in UTF-16 units; in time linear in the text. */
export function inUnits(text, entities) {
  if (!SURROGATE.test(text)) return entities.map((entity) => ({ ...entity }));
  let character = 0, unit = 0;
  const goTo = (offset) => {
    for (; character < offset; character++) unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
    return unit;
  };
  return entities.map((entity) => ({
    ...entity, start: goTo(entity.start), end: goTo(entity.end),
  }));
}

/** Return the number of characters of a text. */
export function countCharacters(text) {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}

/** Return entities where they are after an edit; those that the edit touches are left out. */
export function moved(entities, before, after) {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const shift = after.length - before.length;
  return entities.flatMap((entity) => {
    if (entity.end <= head) return [entity];
    if (entity.start < before.length - tail) return [];
    return [{ ...entity, start: entity.start + shift, end: entity.end + shift }];
  });
}

/** Return a stretch without white space at its ends and with no half of a character; null if
 * nothing is left. */
function trimmed(text, start, end) {
  while (start < end && /\s/.test(text[start])) start++;
  while (end > start && /\s/.test(text[end - 1])) end--;
  if (start >= end) return null;
  const isLow = (at) => /[\udc00-\udfff]/.test(text[at] ?? "");
  if (isLow(start) && start > 0) start--;
  if (isLow(end)) end++;
  return { start, end };
}

/** Return how else the sentence of an entity may be read there, likeliest first: `sentences` have
 * their readings, all in the same unit. */
export function alternativesTo(entity, sentences) {
  const sentence = sentences.find(({ start, end }) => start <= entity.start && entity.end <= end);
  const touches = ({ start, end }) => start < entity.end && end > entity.start;
  const seen = new Set([`${entity.start} ${entity.end} ${entity.label}`]);
  return (sentence?.readings ?? []).flatMap(({ probability, entities }) => {
    const others = entities.filter(touches);
    const key = others.map(({ start, end, label }) => `${start} ${end} ${label}`).join();
    if (seen.has(key)) return [];
    seen.add(key);
    const said = others.map(({ text, label }) => `${text} ${label}`).join(", ");
    return [{ said: said || "no entity", probability }];
  });
}

/** Return the stretch that is selected in the field or in the marked text; null if none is. */
export function selected(text) {
  const area = document.getElementById("text"), reading = document.getElementById("reading");
  if (document.activeElement === area) {
    return trimmed(text, area.selectionStart, area.selectionEnd);
  }
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!reading.contains(range.commonAncestorContainer)) return null;
  const before = document.createRange();
  before.selectNodeContents(reading);
  before.setEnd(range.startContainer, range.startOffset);
  const start = before.toString().length; // labels are not text, so that this counts the text
  return trimmed(text, start, start + range.toString().length);
}

/** Return a stretch that begins and ends with whole words. */
export function wholeWords(text, { start, end }) {
  const isInside = (at) => at > 0 && /[\p{L}\p{N}\p{M}]{2}/u.test(text.slice(at - 1, at + 1));
  while (isInside(start)) start--;
  while (isInside(end)) end++;
  return { start, end };
}
