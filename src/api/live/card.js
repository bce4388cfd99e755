// The card of what was clicked: ids, state and age of a driver, a trip or a waiting rider.
// Owns the selection by id; what it shows is looked up in the city anew every time, so the card
// follows a request that becomes a trip, and closes itself when its subject is gone.

import { DRIVER_STATE, duration, place, TRIP_STATUS } from "./words.js";

export class Card {
  #root = document.getElementById("card");
  #title = document.getElementById("card-title");
  #mark = this.#root.querySelector(".mark");
  #facts = document.getElementById("card-facts");
  #wanted = null;

  constructor() {
    document.getElementById("card-close").addEventListener("click", () => this.select(null));
    addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.select(null);
    });
  }

  // `wanted` is { driverId } or { tripId } or null.
  select(wanted) {
    this.#wanted = wanted;
    if (!wanted) this.#root.hidden = true;
  }

  // The things of the city that are selected now, for the drawing.
  selected(city) {
    if (!this.#wanted) return null;
    const { driverId, tripId } = this.#wanted;
    const trip = tripId ? city.trips.get(tripId) : city.tripOf(driverId);
    const driver = city.drivers.get(driverId ?? trip?.driverId);
    const request = tripId ? city.requests.get(tripId) : undefined;
    return trip || driver || request ? { trip, driver, request } : null;
  }

  show(city, now) {
    const selected = this.selected(city);
    if (!selected) {
      this.select(null);
      return;
    }
    const { driver, trip, request } = selected;
    const [title, mark] = this.#wanted.driverId ? ["Driver", `car ${driver?.state}`]
      : request ? ["Waiting rider", "ring"]
      : ["Trip", trip?.status === "started" ? "line ride" : "line pickup"];
    this.#title.textContent = title;
    this.#mark.className = `mark ${mark}`;
    const facts = [...driverFacts(driver, now), ...tripFacts(trip, city, now),
      ...requestFacts(request, city, now)];
    this.#facts.replaceChildren(...facts.map(row));
    this.#root.hidden = false;
  }
}

function driverFacts(driver, now) {
  if (!driver) return [];
  return [
    ["Driver", driver.id],
    ["State", `${DRIVER_STATE[driver.state]} · ${since(driver, now)}`],
    ["Vehicle", driver.vehicleType],
    ["Heard", `${duration((now - driver.heardAt) / 1000)} ago`],
    ["At", place(driver)],
  ];
}

function tripFacts(trip, city, now) {
  if (!trip) return [];
  const facts = [
    ["Trip", trip.tripId],
    ["Status", `${TRIP_STATUS[trip.status]} · ${since(trip, now)}`],
  ];
  if (trip.since) facts.push(["Asked", `${duration(city.age(trip.since, now))} ago`]);
  return [...facts, ["From", place(trip.pickup)], ["To", place(trip.destination)]];
}

function requestFacts(request, city, now) {
  if (!request) return [];
  return [
    ["Trip", request.tripId],
    ["Status", `Waiting · ${duration(city.age(request.since, now))}`],
    ["Vehicle", request.vehicleType],
    ["From", place(request.pickup)],
    ["To", place(request.destination)],
  ];
}

// How long it has been so; "over" when it was so already when the page first heard of it.
function since({ changedAt, seenChange }, now) {
  return `${seenChange ? "" : "over "}${duration((now - changedAt) / 1000)}`;
}

function row([term, text]) {
  const line = document.createElement("div");
  const name = document.createElement("dt");
  const value = document.createElement("dd");
  name.textContent = term;
  value.textContent = text;
  line.append(name, value);
  return line;
}
