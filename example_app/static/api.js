// The extension's HTTP API. Whoever is not logged in any more is sent to the login page.

const { api, login } = document.body.dataset;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
  }
}

export function toLogin() {
  location.assign(`${login}?next=${encodeURIComponent(location.pathname)}`);
}

export async function ask(method, path, body) {
  const options = { method, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  const response = await fetch(`${api}/${path}`, options);
  if (response.status === 401) toLogin();
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

export function readMessages(channelId, { threadId, before, limit = 50 } = {}) {
  const query = new URLSearchParams({ limit });
  if (threadId) query.set("threadId", threadId);
  if (before) query.set("before", before);
  return ask("GET", `channels/${channelId}/messages?${query}`);
}
