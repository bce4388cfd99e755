// A small curve of the last ten minutes, or of what the page has seen of them. Owns its samples;
// the newest stands at the right edge.

const WINDOW_MS = { least: 60_000, most: 600_000 };
const EVERY_MS = 2_000;
const [WIDE, HIGH, AIR] = [100, 30, 3];

export class Spark {
  #samples = [];
  #area;
  #line;

  constructor(svg) {
    this.#area = svg.querySelector(".area");
    this.#line = svg.querySelector(".stroke");
  }

  add(value, now) {
    const last = this.#samples.at(-1);
    if (last && now - last.at < EVERY_MS) last.value = value;
    else this.#samples.push({ at: now, value });
    while (now - this.#samples[0].at > WINDOW_MS.most) this.#samples.shift();
    this.#draw(now);
  }

  clear() {
    this.#samples = [];
    this.#area.setAttribute("d", "");
    this.#line.setAttribute("d", "");
  }

  #draw(now) {
    const wide = Math.max(WINDOW_MS.least, now - this.#samples[0].at);
    const most = Math.max(4, ...this.#samples.map(({ value }) => value));
    const x = (at) => (WIDE * (1 - (now - at) / wide)).toFixed(2);
    const y = (value) => (HIGH - AIR / 2 - (value / most) * (HIGH - AIR)).toFixed(2);
    const points = this.#samples.map(({ at, value }) => `${x(at)} ${y(value)}`);
    const last = this.#samples.at(-1);
    points.push(`${WIDE} ${y(last.value)}`);
    const line = `M${points.join("L")}`;
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}V${HIGH}H${x(this.#samples[0].at)}Z`);
  }
}

// How many per minute a growing count has grown of late.
export class Rate {
  #samples = [];

  constructor(overMs = 60_000) {
    this.over = overMs;
  }

  add(total, now) {
    // A smaller count is another server's: it began to count anew.
    if (this.#samples.length && total < this.#samples.at(-1).total) this.#samples = [];
    this.#samples.push({ total, at: now });
    while (now - this.#samples[0].at > this.over) this.#samples.shift();
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    const minutes = Math.max(15_000, last.at - first.at) / 60_000;
    return (last.total - first.total) / minutes;
  }

  clear() {
    this.#samples = [];
  }
}
