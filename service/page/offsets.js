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
export function trimmed(text, start, end) {
  while (start < end && /\s/.test(text[start])) start++;
  while (end > start && /\s/.test(text[end - 1])) end--;
  if (start >= end) return null;
  const isLow = (at) => /[\udc00-\udfff]/.test(text[at] ?? "");
  if (isLow(start) && start > 0) start--;
  if (isLow(end)) end++;
  return { start, end };
}
