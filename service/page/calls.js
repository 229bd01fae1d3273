// What a call looks like in curl, Python and JavaScript, and the JSON of an answer.

const LONG = 2000;
const INVISIBLE = /[\p{Cf}\p{Zl}\p{Zp}\u007f-\u009f]/gu;
const SHOWN_ENTITIES = 300;

export const LANGUAGES = ["curl", "Python", "JavaScript"];

/** Return a call as code; `options` has what differs from the defaults. */
export function codeOf(language, url, text, options, needsKey) {
  const write = { curl: inCurl, Python: inPython, JavaScript: inJavaScript }[language];
  return write(url, text, options, needsKey);
}

function inCurl(url, text, options, needsKey) {
  const key = needsKey ? ` \\\n  -H "X-API-Key: $KEY"` : "";
  const type = "-H 'Content-Type: application/json'";
  const head = `curl ${quoted(`${url}v1/entities`)} \\\n  ${type}${key}`;
  if (text.length <= LONG) {
    return `${head} \\\n  -d ${quoted(visible(JSON.stringify({ text, ...options })))}`;
  }
  const rest = Object.keys(options).length ? ` + ${JSON.stringify(options)}` : "";
  return `jq -Rs '{text: .}${rest}' text.txt |\n  ${head.replaceAll("\n", "\n  ")} \\\n    -d @-`;
}

function inPython(url, text, options, needsKey) {
  const named = Object.entries(options).map(
    ([name, value]) => `, ${name}=${visible(JSON.stringify(value), "python")}`,
  );
  const long = text.length > LONG;
  const given = long ? 'Path("text.txt").read_text()' : visible(JSON.stringify(text), "python");
  const imports = [
    ...(needsKey ? ["import os"] : []), ...(long ? ["from pathlib import Path"] : []),
  ];
  const key = needsKey ? ', api_key=os.environ["KEY"]' : "";
  return [
    ...imports, ...(imports.length ? [""] : []),
    "from teddy import Client", "",
    `with Client(${JSON.stringify(url.replace(/\/$/, ""))}${key}) as client:`,
    `    result = client.tag(${given}${named.join("")})`,
    "for entity in result.entities:",
    "    print(entity.start, entity.end, entity.label, entity.score, entity.text)",
  ].join("\n");
}

function inJavaScript(url, text, options, needsKey) {
  const given = text.length > LONG ? "await file.text()" : visible(JSON.stringify(text));
  const others = Object.entries(options).map(
    ([name, value]) => `, ${name}: ${visible(JSON.stringify(value))}`,
  );
  const key = needsKey ? ', "X-API-Key": key' : "";
  return [
    `const response = await fetch(${JSON.stringify(`${url}v1/entities`)}, {`,
    '  method: "POST",',
    `  headers: { "Content-Type": "application/json"${key} },`,
    `  body: JSON.stringify({ text: ${given}${others.join("")}, offset_unit: "utf16" }),`,
    "});",
    "const { entities } = await response.json();",
  ].join("\n");
}

/** Quote for a shell. */
const quoted = (text) =>
  /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/** Escape what would be invisible in code, or turn it around. */
function visible(literal, language) {
  return literal.replace(INVISIBLE, (character) => {
    const code = character.codePointAt(0);
    if (code > 0xffff && language === "python") return `\\U${code.toString(16).padStart(8, "0")}`;
    const units = [...Array(character.length).keys()].map((i) => character.charCodeAt(i));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  });
}

/** Return an answer as JSON, one entity on a line; if `all` is not set, only the first ones. */
export function jsonOf(answer, all = false) {
  const { entities, ...others } = answer;
  const shown = all ? entities : entities.slice(0, SHOWN_ENTITIES);
  const fields = Object.entries(others).map(
    ([name, value]) => `  ${JSON.stringify(name)}: ${inline(value)}`,
  );
  const lines = shown.map((entity) => `    ${inline(entity)}`);
  if (shown.length < entities.length) {
    const n = (entities.length - shown.length).toLocaleString("en");
    lines.push(`    … ${n} more; Copy has all`);
  }
  const listed = lines.length ? `[\n${lines.join(",\n")}\n  ]` : "[]";
  return `{\n${[...fields, `  "entities": ${listed}`].join(",\n")}\n}`;
}

function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  if (value === null || typeof value !== "object") return visible(JSON.stringify(value));
  const fields = Object.entries(value).map(
    ([name, each]) => `${JSON.stringify(name)}: ${inline(each)}`,
  );
  return `{${fields.join(", ")}}`;
}
