// Which part of the world is on the screen. Owns the Leaflet map, which only takes the hands'
// and keys' wishes (drag, wheel, pinch, arrows), and answers with the transform all canvases
// draw by: screen = world · scale + (x, y).

import { project } from "./motion.js";
import { CALM } from "./theme.js";

const ZOOM_MS = 260;
const { L } = globalThis;

export class View {
  #map;
  #last = { scale: 1, x: 0, y: 0, zoom: 0 };
  #zooming = null;

  constructor(element) {
    this.#map = L.map(element, {
      zoomControl: false, attributionControl: false, zoomAnimation: !CALM, fadeAnimation: false,
      zoomSnap: 0.25, zoomDelta: 0.5, wheelPxPerZoomLevel: 110, minZoom: 7, maxZoom: 18,
    });
    L.control.scale({ position: "bottomright", imperial: false, maxWidth: 120 }).addTo(this.#map);
    L.control.zoom({ position: "bottomright" }).addTo(this.#map);
    this.#map.setView([0, 0], 2, { animate: false });
    this.#map.on("zoomanim", () => {
      this.#zooming = { from: this.#last, since: performance.now() };
    });
  }

  get size() {
    const { x, y } = this.#map.getSize();
    return { width: x, height: y };
  }

  on(events, listener) {
    this.#map.on(events, listener);
  }

  // The transform at `now`; during a zoom it is on its way from the old one.
  at(now) {
    const zoom = this.#map.getZoom();
    const origin = this.#map.getPixelOrigin();
    const shift = this.#map.layerPointToContainerPoint([0, 0]);
    const goal = { scale: 2 ** zoom, x: shift.x - origin.x, y: shift.y - origin.y, zoom };
    this.#last = this.#zooming ? this.#between(this.#zooming, goal, now) : goal;
    return this.#last;
  }

  // Shows these places ([{lat,lng}]), beside the panel.
  fit(places, { animate = false } = {}) {
    const room = panelRoom();
    this.#map.fitBounds(places.map(({ lat, lng }) => [lat, lng]), {
      paddingTopLeft: [room.left + 24, 28],
      paddingBottomRight: [28, room.bottom + 28],
      maxZoom: 15,
      animate: animate && !CALM,
    });
  }

  // Brings a place to the middle of what the panel leaves free.
  show({ lat, lng }) {
    const room = panelRoom();
    const zoom = Math.max(this.#map.getZoom(), 14);
    const middle = this.#map.project([lat, lng], zoom)
      .subtract([room.left / 2, -room.bottom / 2]);
    this.#map.flyTo(this.#map.unproject(middle, zoom), zoom, { animate: !CALM, duration: 0.7 });
  }

  #between({ from, since }, goal, now) {
    const done = Math.min(1, (now - since) / ZOOM_MS);
    if (done === 1) this.#zooming = null;
    const eased = 1 - (1 - done) ** 3;
    const mix = (a, b) => a + (b - a) * eased;
    return {
      scale: mix(from.scale, goal.scale), x: mix(from.x, goal.x), y: mix(from.y, goal.y),
      zoom: mix(from.zoom, goal.zoom),
    };
  }
}

// Four places around a centre, so far out that a circle of `metres` fits.
export function around({ lat, lng }, metres) {
  const north = metres / 111_195;
  const east = north / Math.cos((lat * Math.PI) / 180);
  return [
    { lat: lat + north, lng }, { lat: lat - north, lng },
    { lat, lng: lng + east }, { lat, lng: lng - east },
  ];
}

// Pixels of the world (at zoom 0) per metre at this latitude.
export function worldPerMetre(lat) {
  const east = 1 / (111_195 * Math.cos((lat * Math.PI) / 180));
  return project(lat, east).x - project(lat, 0).x;
}

// How much of the window the panel covers.
function panelRoom() {
  const panel = document.getElementById("panel").getBoundingClientRect();
  const beside = panel.width < innerWidth * 0.6;
  return { left: beside ? panel.right : 0, bottom: beside ? 0 : innerHeight - panel.top };
}
