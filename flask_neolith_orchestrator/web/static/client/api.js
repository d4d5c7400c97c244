// The extension's HTTP API: ask() for one answer, all() for every page of a list. Whoever is not logged in any more is
// sent to the login page (data-login of the body), or where the server sends them.

const { api, login } = document.body.dataset;

// the server understood and said no: `status`, `code` and `errors` of its problem details
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.code = problem.code;
    this.errors = problem.errors ?? [];
    this.weakenings = problem.weakenings ?? []; // of a charter, with 409 unconfirmed
    this.retryAfter = problem.retryAfter; // seconds, with 429
  }
}

// nobody answered: no connection, or the server is down
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer. Check your connection and try again.");
  }
}

// a page that has something to save first cancels the event, and leaves by itself
export function toLogin() {
  if (!document.dispatchEvent(new Event("neolith:login-ended", { cancelable: true }))) return;
  if (login) location.assign(`${login}?next=${encodeURIComponent(location.pathname + location.search)}`);
  else location.reload();
}

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export async function ask(method, path, body, { signal, keepalive } = {}) {
  const options = { method, signal, keepalive, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  const response = await fetch(`${api}/${path}`, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  });
  if (response.status === 401) toLogin();
  const answer = await response.json().catch(() => ({})); // 204 has none, a proxy's error page is none
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

// every item of a list, however many pages it has
export async function all(path, values = {}) {
  const items = [];
  let cursor;
  do {
    const page = await ask("GET", `${path}${query({ limit: 100, ...values, cursor })}`);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return items;
}

export function readMessages(channelId, { threadId, before, limit = 50 } = {}) {
  return ask("GET", `channels/${channelId}/messages${query({ limit, threadId, before })}`);
}
