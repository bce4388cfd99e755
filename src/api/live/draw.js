// What moves: trails, lines of trips, waiting riders, drivers, and what is selected.
// Owns no state of the city; draws it as it is at `now`, back to front.

import { Cars } from "./cars.js";
import { turnAt, xAt, yAt } from "./motion.js";
import { CALM, COLOUR, STATES } from "./theme.js";

const PULSE_MS = 2_400;
// A rider who has waited this long has the widest ring.
const LONG_WAIT_S = 180;
const RING = { least: 5, most: 16, core: 2.2 };
// With this many riders waiting, the rings grow half as wide.
const RING_CROWD = 150;
const RIPPLE = { ms: 1_600, most: 26 };
const RIPPLE_COLOUR = { matched: "available", completed: "ride", lost: "waiting" };
// Many lines are drawn fainter, so that the city stays visible under them. A ride's line fades
// towards its destination, in pieces: a share of the way and of the strength each.
const LINE = { faintest: 0.14, strongest: 0.6, crowd: 400 };
const FADE = [[0, 0.18, 1], [0.18, 0.5, 0.6], [0.5, 1, 0.3]];
const DASHED_AT_MOST = 500;
// What reaches into the window from outside of it.
const MARGIN = 40;

export class Drawing {
  #cars = new Cars();
  #trails;

  constructor(trails) {
    this.#trails = trails;
  }

  draw(context, view, size, { city, layers, selected }, now) {
    if (layers.trails) this.#trails.draw(context, view, size, now);
    lines(context, view, city, layers, now);
    if (layers.requests) requests(context, view, size, city, now);
    this.#drivers(context, view, size, city, layers, now);
    ripples(context, view, city.ripples, now);
    if (selected) highlight(context, view, city, selected, this.#cars.radius, now);
  }

  // State by state, so that the few who look at an offer lie on top.
  #drivers(context, view, size, city, layers, now) {
    const spots = Object.fromEntries(STATES.map((state) => [state, []]));
    let shown = 0;
    for (const driver of city.drivers.values()) {
      if (!layers[driver.state]) continue;
      const { x, y } = spot(driver, view, now);
      if (!inside(x, y, size)) continue;
      spots[driver.state].push(x, y, turnAt(driver, now));
      shown += 1;
    }
    this.#cars.use(view.zoom, shown);
    for (const state of STATES) this.#cars.draw(context, state, spots[state]);
  }
}

// Where a driver is on the screen.
export function spot(driver, view, now) {
  return {
    x: xAt(driver, now) * view.scale + view.x,
    y: yAt(driver, now) * view.scale + view.y,
  };
}

export function onScreen({ x, y }, view) {
  return { x: x * view.scale + view.x, y: y * view.scale + view.y };
}

// Where a trip's line leads from its driver: to the rider, and with him to the destination.
export function goal(trip) {
  return trip.status === "started" ? trip.to : trip.from;
}

function lines(context, view, city, layers, now) {
  const pickups = new Path2D();
  const rides = FADE.map(() => new Path2D());
  const [waits, ends] = [new Path2D(), new Path2D()];
  for (const trip of city.trips.values()) {
    const started = trip.status === "started";
    if (!(started ? layers.rides : layers.pickups)) continue;
    const to = onScreen(goal(trip), view);
    const marks = started ? ends : waits;
    marks.moveTo(to.x + 2.5, to.y);
    marks.arc(to.x, to.y, 2.5, 0, 7);
    const driver = city.drivers.get(trip.driverId);
    if (!driver || trip.status === "arrived") continue;
    const from = spot(driver, view, now);
    if (started) FADE.forEach(([a, b], at) => piece(rides[at], from, to, a, b));
    else piece(pickups, from, to, 0, 1);
  }
  const crowd = Math.min(1, city.trips.size / LINE.crowd);
  const strength = LINE.strongest + (LINE.faintest - LINE.strongest) * crowd;
  // A hairline is drawn ten times as fast as a wider line.
  context.lineWidth = 1;
  FADE.forEach(([, , share], at) => stroke(context, rides[at], COLOUR.ride, strength * share));
  stroke(context, ends, COLOUR.ride, strength);
  if (city.trips.size <= DASHED_AT_MOST) {
    context.setLineDash([5, 5]);
    context.lineDashOffset = CALM ? 0 : -(now / 60) % 10;
  }
  stroke(context, pickups, COLOUR.pickup, Math.min(1, strength * 1.35));
  context.setLineDash([]);
  stroke(context, waits, COLOUR.pickup, Math.min(1, strength * 1.6));
  context.globalAlpha = 1;
}

// The part of a straight way between the shares `a` and `b` of it.
function piece(path, from, to, a, b) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  path.moveTo(from.x + dx * a, from.y + dy * a);
  path.lineTo(from.x + dx * b, from.y + dy * b);
}

function stroke(context, path, colour, strength) {
  context.globalAlpha = strength;
  context.strokeStyle = colour;
  context.stroke(path);
}

export function ringRadius(request, city, now) {
  const waited = Math.min(1, city.age(request.since, now) / LONG_WAIT_S);
  const room = (RING.most - RING.least) / (1 + city.requests.size / RING_CROWD);
  return RING.least + room * waited;
}

function requests(context, view, size, city, now) {
  context.strokeStyle = COLOUR.waiting;
  context.fillStyle = COLOUR.waiting;
  for (const request of city.requests.values()) {
    const { x, y } = onScreen(request.from, view);
    if (!inside(x, y, size)) continue;
    const radius = ringRadius(request, city, now);
    // Riders don't pulse in step: each by his own moment of asking.
    const beat = CALM ? 0.35 : ((now + request.since) % PULSE_MS) / PULSE_MS;
    circle(context, x, y, radius, 0.14, "fill");
    context.lineWidth = 1.4;
    circle(context, x, y, radius, 0.9, "stroke");
    context.lineWidth = 1.2;
    circle(context, x, y, radius + beat * (8 + radius * 0.8), (1 - beat) ** 2 * 0.7, "stroke");
    circle(context, x, y, RING.core, 1, "fill");
  }
  context.globalAlpha = 1;
}

function ripples(context, view, known, now) {
  for (const { place, kind, at } of known) {
    const done = (now - at) / RIPPLE.ms;
    if (done >= 1 || CALM) continue;
    const { x, y } = onScreen(place, view);
    context.strokeStyle = COLOUR[RIPPLE_COLOUR[kind]];
    context.lineWidth = 2 * (1 - done) + 0.4;
    circle(context, x, y, 3 + RIPPLE.most * (1 - (1 - done) ** 3), 1 - done, "stroke");
  }
  context.globalAlpha = 1;
}

function highlight(context, view, city, { driver, trip, request }, carRadius, now) {
  context.strokeStyle = COLOUR.text;
  context.lineWidth = 1.5;
  const going = trip ?? request;
  if (going) {
    const [from, to] = [onScreen(going.from, view), onScreen(going.to, view)];
    const start = driver ? spot(driver, view, now) : from;
    context.beginPath();
    context.moveTo(start.x, start.y);
    if (trip?.status !== "started") context.lineTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.globalAlpha = 0.75;
    context.stroke();
    circle(context, from.x, from.y, 4, 1, "stroke");
    context.strokeRect(to.x - 4, to.y - 4, 8, 8);
  }
  if (driver) {
    const { x, y } = spot(driver, view, now);
    circle(context, x, y, carRadius * 2 + 6, 0.95, "stroke");
  } else if (request) {
    const { x, y } = onScreen(request.from, view);
    circle(context, x, y, ringRadius(request, city, now) + 5, 0.95, "stroke");
  }
  context.globalAlpha = 1;
}

function inside(x, y, { width, height }) {
  return x > -MARGIN && y > -MARGIN && x < width + MARGIN && y < height + MARGIN;
}

function circle(context, x, y, radius, strength, how) {
  context.globalAlpha = strength;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context[how]();
}
