// The drivers' shapes. Owns an atlas of every state's drop in every heading, made anew when the
// size of a driver or the screen's sharpness changes, so that no path is built while cars drive.
//
// A crowd is drawn as small darts instead, few paths per colour: without a graphics card that
// takes half the time of as many copies from the atlas.

import { COLOUR, STATES } from "./theme.js";

const HEADINGS = 48;
// One more column: a driver who told no heading is a round dot.
const ROUND = HEADINGS;
const GLOW = 5;
const FULL_TURN = Math.PI * 2;
// Two numbers, so that a count that wavers doesn't make the shapes waver.
const CROWD = { from: 1_300, to: 1_000 };
const DARTS_PER_PATH = 64;
const DART_RADIUS = { least: 1.6, most: 3.2 };

export class Cars {
  radius = 0;
  #crowded = false;
  #atlas = document.createElement("canvas");
  #made = "";
  #ratio = 1;
  #cell = 0;

  // Draws all of one state; `spots` is [x, y, turn, x, y, turn, …], turn NaN when unknown.
  draw(context, state, spots) {
    if (this.#crowded) darts(context, spots, this.radius, COLOUR[state]);
    else this.#drops(context, spots, STATES.indexOf(state));
  }

  // Prepares for this many drivers in view at this zoom.
  use(zoom, shown) {
    this.#crowded = shown > (this.#crowded ? CROWD.to : CROWD.from);
    const size = 2 + (zoom - 11) * 0.85;
    if (this.#crowded) {
      this.radius = clamp(size * 0.62, DART_RADIUS.least, DART_RADIUS.most);
      return;
    }
    this.radius = Math.round(2 * clamp(size, 1.5, 6.5)) / 2;
    this.#ratio = Math.min(2, devicePixelRatio);
    const wanted = `${this.radius} ${this.#ratio}`;
    if (wanted !== this.#made) this.#make();
    this.#made = wanted;
  }

  #drops(context, spots, row) {
    const pixels = this.#cell * this.#ratio;
    for (let at = 0; at < spots.length; at += 3) {
      const turn = spots[at + 2];
      const column = Number.isNaN(turn) ? ROUND
        : Math.round((turn / FULL_TURN) * HEADINGS) % HEADINGS;
      context.drawImage(this.#atlas, column * pixels, row * pixels, pixels, pixels,
        spots[at] - this.#cell / 2, spots[at + 1] - this.#cell / 2, this.#cell, this.#cell);
    }
  }

  #make() {
    const ratio = this.#ratio;
    this.#cell = Math.ceil(this.radius * 4 + GLOW * 2);
    this.#atlas.width = this.#cell * ratio * (HEADINGS + 1);
    this.#atlas.height = this.#cell * ratio * STATES.length;
    const context = this.#atlas.getContext("2d");
    STATES.forEach((state, row) => {
      for (let column = 0; column <= HEADINGS; column += 1) {
        context.setTransform(ratio, 0, 0, ratio,
          (column + 0.5) * this.#cell * ratio, (row + 0.5) * this.#cell * ratio);
        if (column !== ROUND) context.rotate((column / HEADINGS) * FULL_TURN);
        drop(context, this.radius, COLOUR[state], column !== ROUND);
      }
    });
  }
}

// A drop whose tip points up, or a dot; a dark rim keeps neighbours apart.
function drop(context, radius, colour, pointed) {
  const shoulder = Math.PI * 0.18;
  context.beginPath();
  if (pointed) {
    const tip = radius * 1.9;
    context.arc(0, 0, radius, -shoulder, Math.PI + shoulder);
    context.quadraticCurveTo(-radius * 0.42, -radius * 1.05, 0, -tip);
    context.quadraticCurveTo(radius * 0.42, -radius * 1.05,
      radius * Math.cos(shoulder), -radius * Math.sin(shoulder));
  } else {
    context.arc(0, 0, radius, 0, FULL_TURN);
  }
  context.closePath();
  context.strokeStyle = COLOUR.water;
  context.lineWidth = 1.6;
  context.stroke();
  context.shadowColor = colour;
  context.shadowBlur = GLOW;
  context.fillStyle = colour;
  context.fill();
  context.shadowBlur = 0;
}

function darts(context, spots, radius, colour) {
  context.fillStyle = colour;
  context.strokeStyle = COLOUR.water;
  context.lineWidth = 1;
  for (let start = 0; start < spots.length; start += DARTS_PER_PATH * 3) {
    const end = Math.min(spots.length, start + DARTS_PER_PATH * 3);
    context.beginPath();
    for (let at = start; at < end; at += 3) dart(context, spots, at, radius);
    context.stroke();
    context.fill();
  }
}

// Four corners; a driver without a heading is a diamond.
function dart(context, spots, at, radius) {
  const [x, y, turn] = [spots[at], spots[at + 1], spots[at + 2]];
  const long = Number.isNaN(turn) ? 1.2 : 2.1;
  const east = Number.isNaN(turn) ? 0 : Math.sin(turn) * radius;
  const north = Number.isNaN(turn) ? radius : Math.cos(turn) * radius;
  context.moveTo(x + east * long, y - north * long);
  context.lineTo(x + north, y + east);
  context.lineTo(x - east * 1.1, y + north * 1.1);
  context.lineTo(x - north, y - east);
  context.closePath();
}

function clamp(n, least, most) {
  return Math.min(most, Math.max(least, n));
}
