// The line to the server. Owns one WebSocket for one city: opens it, subscribes, notices when it
// is dead, and comes back with growing, scattered pauses.
//
// Events: `update` (a frame's data), `state` ("connecting" | "live" | "lost"), `refused` (the
// server's error to the subscription, told after "lost": it is asked again after a pause).
// A city's first frame after a subscription is whole, so nothing is carried over a loss.

const PAUSE_MS = { first: 500, longest: 15_000 };
const OPEN_WITHIN_MS = 10_000;
// Frames come every second; a quiet line is asked for a sign and then given up.
const QUIET_MS = { ask: 10_000, giveUp: 20_000, look: 2_000 };
const TOKEN_REFUSED = 4401;

export class Line extends EventTarget {
  #session;
  #socket = null;
  #city = null;
  #room = null;
  #asked = 0;
  #losses = 0;
  #heardAt = 0;
  #comeBackIn = null;
  #renewFirst = false;
  #retry = 0;
  #watch = 0;
  subscriptions = 0;

  constructor(session) {
    super();
    this.#session = session;
    session.addEventListener("token", ({ detail }) => this.#send("auth", { token: detail }));
    addEventListener("online", () => this.#hurry());
  }

  // Follows this city from now on, instead of any other.
  follow(city) {
    this.#drop();
    this.#city = city;
    this.#losses = 0;
    this.#tell("state", "connecting");
    this.#open();
  }

  close() {
    this.#drop();
    this.#city = null;
  }

  async #open() {
    const city = this.#city;
    let token;
    try {
      if (this.#renewFirst) await this.#session.renew();
      this.#renewFirst = false;
      token = await this.#session.token();
    } catch (error) {
      // A session that ended says so itself, and whoever hears it closes this line.
      if (this.#city === city) this.#lost();
      return;
    }
    if (this.#city !== city || this.#socket) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`,
      ["smartline.v1", `bearer.${token}`]);
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#watch = setInterval(() => this.#lookAfter(socket), QUIET_MS.look);
    socket.onopen = () => this.#send("live.subscribe", { city });
    socket.onmessage = ({ data }) => this.#read(JSON.parse(data));
    socket.onclose = ({ code }) => {
      // A browser doesn't tell why an upgrade failed: it may have been the token.
      this.#renewFirst = code === TOKEN_REFUSED || this.#room === null;
      this.#drop();
      this.#lost();
    };
  }

  #read(frame) {
    this.#heardAt = performance.now();
    switch (frame.type) {
      case "ack":
        if (frame.data?.room) {
          this.#room = frame.data.room;
          this.subscriptions += 1;
        }
        break;
      case "live.update":
        if (frame.room !== this.#room) break;
        this.#losses = 0;
        this.#tell("update", frame.data);
        this.#tell("state", "live");
        break;
      case "reconnect":
        this.#comeBackIn = frame.data.afterMs;
        break;
      case "error":
        if (this.#room === null && frame.id !== undefined) this.#refuse(frame.error);
        break;
    }
  }

  #refuse(error) {
    this.#drop();
    this.#lost();
    this.#tell("refused", error);
  }

  #send(type, data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#asked += 1;
    this.#socket.send(JSON.stringify({ type, id: String(this.#asked), data }));
  }

  #lookAfter(socket) {
    const quiet = performance.now() - this.#heardAt;
    const opening = socket.readyState === WebSocket.CONNECTING;
    if (quiet > (opening ? OPEN_WITHIN_MS : QUIET_MS.giveUp)) {
      this.#drop();
      this.#lost();
    } else if (quiet > QUIET_MS.ask) {
      this.#send("ping");
    }
  }

  #lost() {
    if (this.#city === null) return;
    this.#tell("state", "lost");
    const longest = Math.min(PAUSE_MS.longest, PAUSE_MS.first * 2 ** this.#losses);
    const pause = this.#comeBackIn ?? longest * (0.5 + Math.random() / 2);
    this.#comeBackIn = null;
    this.#losses += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), pause);
  }

  // The network is back: no reason to wait for the pause to end.
  #hurry() {
    if (this.#city === null || this.#socket) return;
    clearTimeout(this.#retry);
    this.#open();
  }

  // Lets go of the socket without waiting for a close that a dead peer never sends.
  #drop() {
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    this.#room = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
