// Who is looking. Owns the tokens: signs in by a link's code, a stored refresh token or a
// password, renews the access token before it ends, and forgets everything on sign-out.
//
// Guarantees:
// - one refresh at a time: a refresh token is good for one use, two would end the session;
// - a new refresh token is stored before anything else happens;
// - only an operator gets a session.

import { post, Refused, Unreachable } from "./api.js";

const STORED_AS = "smartline.live.refresh";
const RETRY_MS = 5_000;
// The token is renewed when a fifth of its life is left, but no earlier than this before its end.
const MARGIN_S = 60;
const OVER = "Your session has ended. Sign in again.";

export class Session extends EventTarget {
  #token = null;
  #endsAt = 0;
  #renewing = null;
  #timer = 0;

  // Signs in with what the page was opened with; false when that is nothing.
  async resume(code) {
    if (code) {
      try {
        await this.#adopt(await post("/auth/exchange", { code }));
        return true;
      } catch (error) {
        // A link opened twice: its code is spent, but this tab may know us.
        if (!sessionStorage.getItem(STORED_AS)) throw error;
      }
    }
    if (!sessionStorage.getItem(STORED_AS)) return false;
    await this.renew();
    return true;
  }

  async logIn(phone, password) {
    await this.#adopt(await post("/auth/login", { phone, password }));
  }

  // A token that is good for the moment; throws when the session is over.
  async token() {
    if (this.#token === null || performance.now() >= this.#endsAt) await this.renew();
    return this.#token;
  }

  renew() {
    this.#renewing ??= this.#refresh().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  // Whoever uses the session hears why it is over.
  end(reason = "") {
    this.#forget();
    this.dispatchEvent(new CustomEvent("end", { detail: reason }));
  }

  #forget() {
    clearTimeout(this.#timer);
    const refreshToken = sessionStorage.getItem(STORED_AS);
    sessionStorage.removeItem(STORED_AS);
    this.#token = null;
    // The answer changes nothing here: the token is forgotten either way.
    if (refreshToken) post("/auth/logout", { refreshToken }).catch(() => {});
  }

  async #refresh() {
    const refreshToken = sessionStorage.getItem(STORED_AS);
    try {
      await this.#adopt(await post("/auth/refresh", { refreshToken }));
    } catch (error) {
      if (!(error instanceof Refused) || error.passing) throw error;
      sessionStorage.removeItem(STORED_AS);
      if (this.#token !== null) this.end(OVER);
      throw new Refused(error.status, { code: error.code, message: OVER });
    }
  }

  async #adopt({ user, token, refreshToken, expiresIn }) {
    sessionStorage.setItem(STORED_AS, refreshToken);
    if (user && user.role !== "admin") {
      this.#forget();
      const message = `This is the account of a ${user.role}. The live city is for operators: ` +
        "sign in with an admin account.";
      throw new Refused(403, { code: "FORBIDDEN", message });
    }
    const life = (expiresIn - Math.min(MARGIN_S, expiresIn / 5)) * 1000;
    this.#token = token;
    this.#endsAt = performance.now() + life;
    this.#renewIn(life);
    this.dispatchEvent(new CustomEvent("token", { detail: token }));
  }

  #renewIn(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      try {
        await this.renew();
      } catch (error) {
        const passing = error instanceof Unreachable || error.passing;
        if (passing) this.#renewIn(RETRY_MS);
      }
    }, ms);
  }
}
