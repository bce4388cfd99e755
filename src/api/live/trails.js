// Light left behind by the cars: the streets of a city without tiles appear as they are driven.
// Owns a bounded ring of the last pieces of way and their picture.
//
// The picture is painted anew all the time, a slice of the ring per frame, into a second sheet
// that replaces the first when it is whole: so it fades exactly and costs no frame its time.

import { COLOUR } from "./theme.js";

const PIECES = 24_000;
const FADE_MS = 150_000;
const SLICE = 1_500;
// Nothing to gain from painting an unchanged picture more often than this.
const REST_MS = 700;
const STEPS = 6;
const BRIGHTEST = 0.34;
const NUMBERS = 4;

export class Trails {
  #places = new Float64Array(PIECES * NUMBERS);
  #times = new Float64Array(PIECES);
  #busy = new Uint8Array(PIECES);
  #next = 0;
  #front = new Sheet();
  #back = new Sheet();
  #sweep = null;
  #restUntil = 0;

  add(driver, from, to, now) {
    this.#places.set([from.x, from.y, to.x, to.y], this.#next * NUMBERS);
    this.#times[this.#next] = now;
    this.#busy[this.#next] = driver.state === "busy" ? 1 : 0;
    this.#next = (this.#next + 1) % PIECES;
  }

  forget() {
    this.#times.fill(0);
    this.#sweep = null;
    this.#front.view = null;
  }

  // The map stands somewhere else: paint for there at once.
  moved() {
    this.#sweep = null;
    this.#restUntil = 0;
  }

  draw(context, view, size, now) {
    this.#paint(view, size, now);
    const drawn = this.#front.view;
    if (!drawn) return;
    const zoomed = view.scale / drawn.scale;
    const left = view.x - drawn.x * zoomed;
    const top = view.y - drawn.y * zoomed;
    context.drawImage(this.#front.canvas, left, top,
      this.#front.canvas.width * zoomed, this.#front.canvas.height * zoomed);
  }

  #paint(view, size, now) {
    if (!this.#sweep) {
      if (now < this.#restUntil) return;
      this.#back.clear(view, size);
      this.#sweep = { done: 0, from: this.#next, now };
    }
    const { done, from, now: since } = this.#sweep;
    const slice = Math.min(SLICE, PIECES - done);
    this.#pieces((from + done) % PIECES, slice, since);
    this.#sweep.done += slice;
    if (this.#sweep.done < PIECES) return;
    [this.#front, this.#back] = [this.#back, this.#front];
    this.#sweep = null;
    this.#restUntil = now + REST_MS;
  }

  // Oldest first; pieces of one brightness and colour are one stroke.
  #pieces(start, count, now) {
    const strokes = new Map();
    for (let n = start; n < start + count; n += 1) {
      const at = n % PIECES;
      const age = (now - this.#times[at]) / FADE_MS;
      if (this.#times[at] === 0 || age >= 1) continue;
      const key = Math.floor((1 - age) * STEPS) * 2 + this.#busy[at];
      if (!strokes.has(key)) strokes.set(key, new Path2D());
      this.#back.piece(strokes.get(key), this.#places, at * NUMBERS);
    }
    for (const [key, path] of strokes) {
      const bright = (BRIGHTEST * ((key >> 1) + 1)) / STEPS;
      this.#back.stroke(path, key & 1 ? COLOUR.busy : COLOUR.available, bright);
    }
  }
}

// A canvas off the screen that remembers for which view it was drawn.
class Sheet {
  canvas = document.createElement("canvas");
  #context = this.canvas.getContext("2d");
  view = null;

  clear(view, { width, height }) {
    this.view = view;
    this.canvas.width = width;
    this.canvas.height = height;
  }

  piece(path, places, at) {
    const { scale, x, y } = this.view;
    path.moveTo(places[at] * scale + x, places[at + 1] * scale + y);
    path.lineTo(places[at + 2] * scale + x, places[at + 3] * scale + y);
  }

  stroke(path, colour, bright) {
    this.#context.globalAlpha = bright;
    this.#context.strokeStyle = colour;
    this.#context.lineWidth = 1;
    this.#context.stroke(path);
  }
}
