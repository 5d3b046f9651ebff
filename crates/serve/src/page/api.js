// Requests to the server. Whatever goes wrong becomes a sentence.

const STORED = "classify-token";
/** A request is made this many times if the server is busy. */
const ATTEMPTS = 6;
const LONGEST_WAIT = 30;

let token = sessionStorage.getItem(STORED) ?? "";
let pendingToken = null;

/** The page sets these functions. */
export const hooks = {
  /** The server is busy; the request is repeated after this many seconds. `undefined`: it is no longer busy. */
  busy: (_seconds) => {},
  /** Asks the user for a token. */
  token: async (_wasRefused) => "",
};

/** A problem that a user can read. */
export class Problem extends Error {}

/** The answer to a request, parsed. Waits if the server is busy or asks for a token. */
export async function ask(path, { body, type, query = {} } = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined));
  const url = asked.size > 0 ? `${path}?${asked}` : path;
  for (let attempt = 1; ; ) {
    const used = token;
    const response = await send(url, body, type);
    if (response.ok) {
      if (attempt > 1) hooks.busy(undefined);
      return parsed(response);
    }
    if (response.status === 401) {
      await finished(response);
      if (used === token) await newToken(used !== "");
      continue;
    }
    if (response.status !== 503 || attempt === ATTEMPTS) throw await problemOf(response);
    await finished(response);
    attempt += 1;
    const seconds = waitOf(response);
    hooks.busy(seconds);
    await new Promise((done) => setTimeout(done, 1000 * seconds));
  }
}

async function send(url, body, type) {
  const headers = { Accept: "application/json" };
  if (type) headers["Content-Type"] = type;
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    return await fetch(url, { method: body === undefined ? "GET" : "POST", headers, body });
  } catch {
    throw new Problem("The server cannot be reached. Is it still running?");
  }
}

/** Reads an answer to its end, so that its connection is free for the next request. */
const finished = (response) => response.arrayBuffer().catch(() => {});

async function parsed(response) {
  try {
    return await response.json();
  } catch {
    throw new Problem("The answer of the server broke off.");
  }
}

/** Requests that meet the same refusal wait for the same token. */
async function newToken(wasRefused) {
  pendingToken ??= hooks.token(wasRefused).finally(() => {
    pendingToken = null;
  });
  token = await pendingToken;
  sessionStorage.setItem(STORED, token);
}

function waitOf(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return seconds > 0 ? Math.min(seconds, LONGEST_WAIT) : 1;
}

async function problemOf(response) {
  let detail = "";
  try {
    detail = (await response.json()).detail ?? "";
  } catch {
    // Something between the page and the server answered, without details.
  }
  const said = {
    403: "The server refuses this address.",
    408: "The picture took too long to arrive.",
    413: "The picture is too large for this server.",
    503: "The server is too busy.",
  }[response.status];
  return new Problem([said, detail && sentence(detail)].filter(Boolean).join(" ") || `The server answered with the error ${response.status}.`);
}

const sentence = (text) => {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
};
