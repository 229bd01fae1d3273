// Calls to the service that this page came from, with the key that its user has given.

/** The address of the service, whatever prefix a proxy has put before it: two folders up. */
export const ROOT = new URL("../../", import.meta.url);

let key = ""; // here and nowhere else: not stored, not in the page, not in an address

export const setKey = (given) => { key = given; };
export const hasKey = () => key !== "";

/** A refusal of the service (RFC 9457), or that it cannot be reached: then its status is 0. */
export class Problem extends Error {
  constructor(status, detail, retryAfterSeconds = null) {
    super(detail);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Return the answer to GET, or to POST if there is a body. Throws Problem; AbortError. */
export async function call(path, body, signal) {
  const headers = { Accept: "application/json" };
  if (key) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const method = body === undefined ? "GET" : "POST";
  let answer;
  try {
    answer = await fetch(new URL(path, ROOT), {
      method, headers, signal, cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (answer.ok) return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service cannot be reached. This page tries again.", 2);
  }
  let detail = `The service answered ${answer.status} ${answer.statusText}.`;
  try {
    const problem = await answer.json();
    if (typeof problem.detail === "string") detail = problem.detail;
    const errors = (problem.errors ?? []).map(({ loc, msg }) => `${loc.join(".")}: ${msg}`);
    if (errors.length) detail += ` (${errors.join("; ")})`;
  } catch { /* what stands before the service has answered */ }
  throw new Problem(answer.status, detail, Number(answer.headers.get("Retry-After")) || null);
}

/** The newest of several calls: when another begins, the one before is aborted and forgotten. */
export class Newest {
  #turn = 0;
  #controller = null;

  /** Return what `work(signal)` gives, or null if another call has begun since, whichever answer
   * came first. */
  async run(work) {
    this.#controller?.abort();
    this.#controller = new AbortController();
    const mine = ++this.#turn;
    try {
      const result = await work(this.#controller.signal);
      return mine === this.#turn ? result : null;
    } catch (error) {
      if (mine !== this.#turn || error.name === "AbortError") return null;
      throw error;
    }
  }

  /** Forget the call that runs, if any. */
  drop() {
    this.#turn++;
    this.#controller?.abort();
  }
}
