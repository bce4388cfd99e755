// What is known of the city. Owns drivers, open requests, trips and counters, as the server's
// frames tell them; reads no clock: the caller passes `now` (milliseconds of the page).
//
// Guarantees:
// - a trip is a request or in progress, never both;
// - a driver's place on the way to his newest position is a function of `now` alone;
// - what a whole frame doesn't list is forgotten.

import { glide, placed, project } from "./motion.js";

// Short-lived marks on the map: somebody was matched, arrived, or gave up.
const RIPPLE_MS = 1_600;

export class City {
  drivers = new Map();
  requests = new Map();
  trips = new Map();
  counters = null;
  frames = 0;
  ripples = [];
  #tripOf = new Map();
  #serverAhead = 0;
  #onMoved;

  // `onMoved(driver, from, to)` hears of every piece of way a driver has put behind him.
  constructor(onMoved) {
    this.#onMoved = onMoved;
  }

  apply(frame, now) {
    this.frames += 1;
    this.#serverAhead = Date.parse(frame.at) - now;
    this.ripples = this.ripples.filter((ripple) => now - ripple.at < RIPPLE_MS);
    if (frame.whole) this.#forgetUnlisted(frame);
    for (const ended of frame.ended ?? []) this.#end(ended, now);
    for (const id of frame.left ?? []) this.drivers.delete(id);
    for (const driver of frame.drivers ?? []) this.#driver(driver, now);
    for (const request of frame.requests ?? []) this.#request(request);
    for (const trip of frame.trips ?? []) this.#trip(trip, now, Boolean(frame.whole));
    this.counters = frame.counters;
  }

  forget() {
    this.drivers.clear();
    this.requests.clear();
    this.trips.clear();
    this.#tripOf.clear();
    this.ripples = [];
    this.counters = null;
  }

  tripOf(driverId) {
    return this.trips.get(this.#tripOf.get(driverId));
  }

  // Seconds since the server's instant `since` (milliseconds).
  age(since, now) {
    return Math.max(0, (now + this.#serverAhead - since) / 1000);
  }

  #forgetUnlisted(frame) {
    keepOnly(this.drivers, frame.drivers, (driver) => driver.id);
    keepOnly(this.requests, frame.requests, (request) => request.tripId);
    keepOnly(this.trips, frame.trips, (trip) => trip.tripId);
    this.#tripOf.clear();
  }

  #driver(news, now) {
    const to = project(news.lat, news.lng);
    const known = this.drivers.get(news.id);
    if (!known) {
      const fresh = placed(to, news.heading, now);
      this.drivers.set(news.id, { ...news, ...fresh, changedAt: now, seenChange: false });
      return;
    }
    const behind = glide(known, to, news.heading, now);
    if (behind) this.#onMoved(known, behind.from, behind.to);
    if (known.state !== news.state) {
      known.changedAt = now;
      known.seenChange = true;
    }
    Object.assign(known, news);
  }

  #request(news) {
    this.trips.delete(news.tripId);
    this.requests.set(news.tripId, {
      ...news,
      from: project(news.pickup.lat, news.pickup.lng),
      to: project(news.destination.lat, news.destination.lng),
      since: Date.parse(news.since),
    });
  }

  #trip(news, now, whole) {
    const asked = this.requests.get(news.tripId);
    const known = this.trips.get(news.tripId);
    const from = project(news.pickup.lat, news.pickup.lng);
    const to = project(news.destination.lat, news.destination.lng);
    this.requests.delete(news.tripId);
    if (known && known.driverId !== news.driverId) this.#tripOf.delete(known.driverId);
    this.#tripOf.set(news.driverId, news.tripId);
    const same = known?.status === news.status;
    this.trips.set(news.tripId, {
      ...news,
      from,
      to,
      since: asked?.since ?? known?.since,
      changedAt: same ? known.changedAt : now,
      seenChange: same ? known.seenChange : !whole,
    });
    if (asked) this.ripples.push({ place: from, kind: "matched", at: now });
  }

  #end({ tripId, status }, now) {
    const trip = this.trips.get(tripId);
    const gone = trip ?? this.requests.get(tripId);
    if (!gone) return;
    this.trips.delete(tripId);
    this.requests.delete(tripId);
    if (trip && this.#tripOf.get(trip.driverId) === tripId) this.#tripOf.delete(trip.driverId);
    const place = status === "completed" ? gone.to : gone.from;
    this.ripples.push({ place, kind: status === "completed" ? "completed" : "lost", at: now });
  }
}

function keepOnly(known, listed, id) {
  const kept = new Set((listed ?? []).map(id));
  for (const key of known.keys()) if (!kept.has(key)) known.delete(key);
}
