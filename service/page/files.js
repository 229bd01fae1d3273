// Files as texts: chosen in a dialogue, or dropped anywhere on the page.

import { Problem } from "./api.js";

const byId = (id) => document.getElementById(id);

/** Listen for files; `onText(text)` gets what is in them, `onProblem(problem)` why it cannot. */
export function listenForFiles(mostCharacters, onText, onProblem) {
  const take = async (files) => {
    try {
      const texts = await readAll([...files], mostCharacters);
      if (texts.length) onText(texts.join("\n\n"));
    } catch (problem) {
      onProblem(problem);
    }
  };
  byId("open").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", async ({ target }) => {
    await take(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
  const brings = ({ dataTransfer }) => [...(dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    byId("drop").hidden = false;
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) byId("drop").hidden = true;
  });
  addEventListener("drop", (event) => {
    byId("drop").hidden = true;
    if (!brings(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
}

/** Return the texts of files. Throws Problem, before a file is read that must be too long. */
async function readAll(files, mostCharacters) {
  const most = mostCharacters.toLocaleString("en");
  if (files.reduce((sum, { size }) => sum + size, 0) > 4 * mostCharacters) {
    throw new Problem(413, `That is too much: the service takes at most ${most} characters.`);
  }
  return Promise.all(files.map(async (file) => {
    const bytes = new Uint8Array(await file.arrayBuffer());
    try {
      return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes);
    } catch {
      throw new Problem(415, `${file.name} is not a text in UTF-8.`);
    }
  }));
}

function encodingOf([first, second]) {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}
