// The city in numbers, the legend with its switches, the choice of the city, the clock.
// Owns the panel's elements and which layers are switched on.

import { Rate, Spark } from "./spark.js";
import { STATES } from "./theme.js";
import { AREA, count, duration, LINE_STATE } from "./words.js";

const LONGEST = 3;
const byId = (id) => document.getElementById(id);

export class Panel extends EventTarget {
  layers = {};
  #clock = null;
  #waiting = new Spark(byId("spark-waiting"));
  #served = new Spark(byId("spark-served"));
  #rate = new Rate();

  constructor() {
    super();
    for (const box of document.querySelectorAll("[data-layer]")) {
      this.layers[box.dataset.layer] = box.checked;
      box.addEventListener("change", () => {
        this.layers[box.dataset.layer] = box.checked;
      });
    }
    byId("cities").addEventListener("change", ({ target }) =>
      this.#tell("city", target.selectedOptions[0].cityId));
    byId("sign-out").addEventListener("click", () => this.#tell("signout"));
    byId("fold").addEventListener("click", ({ currentTarget }) => {
      const open = byId("panel").classList.toggle("open");
      currentTarget.setAttribute("aria-expanded", String(open));
    });
    setInterval(() => this.#tick(), 1000);
  }

  // Another city: its name, its clock, its areas; what was measured belongs to the last one.
  city({ city, cities }, kinds) {
    byId("city-name").textContent = city.name;
    document.title = `${city.name} · SmartLine live`;
    this.#clock = clockOf(city.timeZone);
    byId("clock-zone").textContent = city.timeZone.replaceAll("_", " ");
    this.#tick();
    this.#choice(city, cities);
    this.#legend(kinds);
    this.#waiting.clear();
    this.#served.clear();
    this.#rate.clear();
  }

  state(state) {
    byId("state").textContent = LINE_STATE[state];
    const notice = byId("notice");
    notice.textContent = state === "lost" ? "Connection lost, reconnecting…" : "";
    notice.hidden = state !== "lost";
  }

  notice(text) {
    const notice = byId("notice");
    notice.textContent = text;
    notice.hidden = false;
  }

  numbers(city, now) {
    const { counters } = city;
    const { drivers } = counters;
    const online = drivers.available + drivers.offered + drivers.busy + drivers.cooldown;
    figure("counter-online", online);
    for (const state of STATES) {
      figure(`counter-${state}`, drivers[state]);
      document.querySelector(`.mix [data-state=${state}]`).style.flexGrow = drivers[state];
    }
    figure("counter-waiting", counters.waiting);
    figure("counter-on-trip", counters.onTrip);
    figure("counter-completed", counters.completed);
    figure("counter-cancelled", counters.cancelled);
    figure("counter-no-drivers", counters.noDrivers);
    byId("wait-p50").textContent = duration(counters.waitP50S);
    byId("wait-p95").textContent = duration(counters.waitP95S);
    byId("wait-oldest").textContent = duration(counters.oldestWaitS);
    const served = this.#rate.add(counters.completed, now);
    figure("trend-waiting", counters.waiting);
    figure("trend-served", Math.round(served));
    this.#waiting.add(counters.waiting, now);
    this.#served.add(served, now);
    this.#longest(city, now);
  }

  #longest(city, now) {
    const first = [...city.requests.values()].sort((a, b) => a.since - b.since).slice(0, LONGEST);
    const list = byId("longest");
    // Kept in place while the same riders wait, so that the keyboard's focus stays where it is.
    const same = first.length === list.children.length &&
      first.every(({ tripId }, at) => list.children[at].dataset.trip === tripId);
    if (!same) list.replaceChildren(...first.map((request) => this.#waitingRider(request)));
    first.forEach((request, at) => {
      list.children[at].querySelector("b").textContent = duration(city.age(request.since, now));
    });
  }

  #waitingRider(request) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    item.dataset.trip = request.tripId;
    button.type = "button";
    button.append(document.createElement("b"), ` ${request.vehicleType} · show on the map`);
    button.addEventListener("click", () => this.#tell("show", request));
    item.append(button);
    return item;
  }

  #choice(city, cities) {
    const several = cities.length > 1;
    byId("city-picker").hidden = !several;
    byId("city-name").classList.toggle("unseen", several);
    byId("cities").replaceChildren(...cities.map(({ id, name }) => {
      const option = new Option(name, id, false, id === city.id);
      option.cityId = id;
      return option;
    }));
  }

  #legend(kinds) {
    const shown = Object.keys(AREA).filter((kind) => kinds.has(kind));
    byId("areas").hidden = shown.length === 0;
    byId("areas").replaceChildren(...shown.map((kind) => {
      const item = document.createElement("li");
      const mark = document.createElement("i");
      mark.className = `mark area ${kind}`;
      item.append(mark, AREA[kind]);
      return item;
    }));
  }

  #tick() {
    if (this.#clock) byId("clock").textContent = this.#clock.format();
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

function clockOf(timeZone) {
  return new Intl.DateTimeFormat("en-GB", {
    timeZone, weekday: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
}

function figure(id, n) {
  const element = byId(id);
  element.value = n;
  element.textContent = count(n);
}
