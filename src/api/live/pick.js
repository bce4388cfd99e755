// What lies under the pointer. Owns nothing; answers with what to select, the nearest thing that
// is shown: a driver, then a waiting rider, then a trip's line.

import { goal, onScreen, ringRadius, spot } from "./draw.js";

const REACH_PX = { driver: 16, ring: 6, line: 7 };

export function pick(point, view, { city, layers }, now) {
  return driverAt(point, view, city, layers, now) ??
    requestAt(point, view, city, layers, now) ??
    tripAt(point, view, city, layers, now);
}

function driverAt(point, view, city, layers, now) {
  const shown = [...city.drivers.values()].filter(({ state }) => layers[state]);
  const near = nearest(shown, (driver) => distance(point, spot(driver, view, now)));
  return near && near.far <= REACH_PX.driver ? { driverId: near.thing.id } : null;
}

function requestAt(point, view, city, layers, now) {
  if (!layers.requests) return null;
  const near = nearest(city.requests.values(), (request) =>
    distance(point, onScreen(request.from, view)) - ringRadius(request, city, now));
  return near && near.far <= REACH_PX.ring ? { tripId: near.thing.tripId } : null;
}

function tripAt(point, view, city, layers, now) {
  const shown = [...city.trips.values()].filter(({ status }) =>
    (status === "started" ? layers.rides : layers.pickups));
  const near = nearest(shown, (trip) => {
    const to = onScreen(goal(trip), view);
    const driver = city.drivers.get(trip.driverId);
    return driver ? fromLine(point, spot(driver, view, now), to) : distance(point, to);
  });
  return near && near.far <= REACH_PX.line ? { tripId: near.thing.tripId } : null;
}

function nearest(things, far) {
  let best = null;
  for (const thing of things) {
    const measured = far(thing);
    if (!best || measured < best.far) best = { thing, far: measured };
  }
  return best;
}

function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function fromLine(point, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const along = ((point.x - a.x) * dx + (point.y - a.y) * dy) / (dx * dx + dy * dy || 1);
  const share = Math.max(0, Math.min(1, along));
  return distance(point, { x: a.x + dx * share, y: a.y + dy * share });
}
