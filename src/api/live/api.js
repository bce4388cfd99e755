// Asks the server. Owns the envelope: a success gives its `data`, a refusal becomes `Refused`,
// and whatever is no answer of the server itself (no network, a proxy's page) `Unreachable`.

const PATIENCE_MS = 20_000;

export class Refused extends Error {
  constructor(status, { code, message }) {
    super(message);
    this.status = status;
    this.code = code;
  }

  // Whether the same question may be answered later.
  get passing() {
    return this.status === 429 || this.status >= 500;
  }
}

export class Unreachable extends Error {
  constructor() {
    super("The server can't be reached. Check the network and try again.");
  }
}

export async function get(path, token) {
  return ask(path, { headers: { authorization: `Bearer ${token}` } });
}

export async function post(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function ask(path, request) {
  const { status, envelope } = await answer(path, request);
  if (envelope?.success) return envelope.data;
  if (envelope?.error) throw new Refused(status, envelope.error);
  throw new Unreachable();
}

async function answer(path, request) {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(`/api/v1${path}`, { ...request, signal });
    return { status: response.status, envelope: await response.json() };
  } catch {
    throw new Unreachable();
  }
}
