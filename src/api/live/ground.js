// What lies still: the city's circle, its areas with their names, and a quiet grid of latitude
// and longitude. Owns the areas' outlines, made once per city in world coordinates.

import { project, unproject } from "./motion.js";
import { COLOUR, FONT } from "./theme.js";
import { worldPerMetre } from "./view.js";

// How each kind of area looks, in the order they are laid down.
const KINDS = {
  service_area: { fill: 0.03, colour: "service", line: 1.2, dash: [7, 5] },
  zone: { fill: 1, colour: "land", edge: "coast", line: 1 },
  surge_zone: { fill: 0.07, colour: "surge", line: 1 },
  airport_pickup: { fill: 0.09, colour: "airport", line: 1.2 },
  restricted: { fill: 0.1, colour: "restricted", line: 1.2, dash: [3, 3] },
};
const GRID_KM = [0.25, 0.5, 1, 2, 5, 10, 20, 50, 100];
const GRID_PX = 92;
const LABEL_PX = 11;
// The map's controls stand in the lower right corner.
const CONTROLS_PX = 140;

export class Ground {
  #areas = [];
  #city = null;
  // Grows with every change of what is drawn.
  version = 0;

  set(city, zones) {
    this.version += 1;
    this.#city = { ...city, middle: project(city.center.lat, city.center.lng) };
    this.#areas = Object.keys(KINDS).flatMap((kind) =>
      zones.features.filter((feature) => feature.properties.kind === kind).map(area));
  }

  // The kinds of areas this city has, for the legend.
  get kinds() {
    return new Set(this.#areas.map(({ kind }) => kind));
  }

  draw(context, view, size) {
    if (!this.#city) return;
    this.#circle(context, view);
    this.#grid(context, view, size);
    for (const one of this.#areas) this.#area(context, view, one);
    for (const one of this.#areas) name(context, view, size, one);
  }

  #circle(context, view) {
    const { middle, center, radius } = this.#city;
    const pixels = radius * worldPerMetre(center.lat) * view.scale;
    context.beginPath();
    context.arc(middle.x * view.scale + view.x, middle.y * view.scale + view.y, pixels, 0, 7);
    if (this.#areas.length === 0) {
      context.fillStyle = COLOUR.land;
      context.globalAlpha = 0.55;
      context.fill();
    }
    context.globalAlpha = 0.8;
    context.strokeStyle = COLOUR.coast;
    context.lineWidth = 1;
    context.stroke();
    context.globalAlpha = 1;
  }

  #grid(context, view, { width, height }) {
    const { middle, center } = this.#city;
    const km = worldPerMetre(center.lat) * 1000 * view.scale;
    const step = km * (GRID_KM.find((n) => n * km >= GRID_PX) ?? GRID_KM.at(-1));
    const columns = lines(middle.x * view.scale + view.x, step, width);
    const rows = lines(middle.y * view.scale + view.y, step, height);
    context.beginPath();
    for (const x of columns) line(context, Math.round(x) + 0.5, 0, 0, height);
    for (const y of rows) line(context, 0, Math.round(y) + 0.5, width, 0);
    context.strokeStyle = COLOUR.grid;
    context.lineWidth = 1;
    context.stroke();
    // Names of areas tell where one is; without any, degrees do.
    if (this.#areas.length === 0) degrees(context, view, { width, height }, columns, rows);
  }

  #area(context, view, { kind, shape }) {
    const look = KINDS[kind];
    context.save();
    context.translate(view.x, view.y);
    context.scale(view.scale, view.scale);
    context.globalAlpha = look.fill;
    context.fillStyle = COLOUR[look.colour];
    context.fill(shape, "evenodd");
    context.globalAlpha = look.edge ? 1 : 0.5;
    context.strokeStyle = COLOUR[look.edge ?? look.colour];
    context.lineWidth = look.line / view.scale;
    context.setLineDash((look.dash ?? []).map((n) => n / view.scale));
    context.stroke(shape);
    context.restore();
  }
}

// An area of the map in world coordinates, with the place of its name.
function area({ properties, geometry }) {
  const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  const rings = polygons.flatMap((rings) =>
    rings.map((ring) => ring.map(([lng, lat]) => project(lat, lng))));
  const shape = new Path2D();
  for (const ring of rings) {
    ring.forEach(({ x, y }, at) => (at === 0 ? shape.moveTo(x, y) : shape.lineTo(x, y)));
    shape.closePath();
  }
  const widest = rings.reduce((a, b) => (span(a) >= span(b) ? a : b));
  return { kind: properties.kind, text: properties.name, shape, ...middle(widest) };
}

// The centroid of a ring, and how wide the ring is.
function middle(ring) {
  let [twice, x, y] = [0, 0, 0];
  // Taken from the ring's first corner: the world's own origin would cost the sums their digits.
  const [{ x: x0, y: y0 }] = ring;
  ring.forEach((a, at) => {
    const b = ring[(at + 1) % ring.length];
    const cross = (a.x - x0) * (b.y - y0) - (b.x - x0) * (a.y - y0);
    twice += cross;
    x += (a.x + b.x - 2 * x0) * cross;
    y += (a.y + b.y - 2 * y0) * cross;
  });
  return { x: x0 + x / (3 * twice), y: y0 + y / (3 * twice), wide: span(ring) };
}

function span(ring) {
  const xs = ring.map(({ x }) => x);
  return Math.max(...xs) - Math.min(...xs);
}

// An area's name stands where there is room for it.
function name(context, view, { width, height }, { text, x, y, wide }) {
  if (!text) return;
  const [left, top] = [x * view.scale + view.x, y * view.scale + view.y];
  if (left < -80 || top < -20 || left > width + 80 || top > height + 20) return;
  context.font = `500 ${LABEL_PX}px ${FONT}`;
  if (context.measureText(text).width > wide * view.scale * 0.86) return;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = COLOUR.label;
  context.fillText(text, left, top);
}

function degrees(context, view, { width, height }, columns, rows) {
  context.font = `400 ${LABEL_PX - 1}px ${FONT}`;
  context.fillStyle = COLOUR.label;
  context.globalAlpha = 0.7;
  context.textBaseline = "top";
  context.textAlign = "left";
  for (const x of columns) {
    const { lng } = unproject(x - view.x, 0, view.scale);
    context.fillText(`${Math.abs(lng).toFixed(3)}° ${lng < 0 ? "W" : "E"}`, x + 5, 6);
  }
  context.textAlign = "right";
  for (const y of rows.filter((y) => y < height - CONTROLS_PX)) {
    const { lat } = unproject(0, y - view.y, view.scale);
    context.fillText(`${Math.abs(lat).toFixed(3)}° ${lat < 0 ? "S" : "N"}`, width - 8, y + 4);
  }
  context.globalAlpha = 1;
}

// Where lines stand that are `step` apart, one of them at `through`.
function lines(through, step, end) {
  const first = ((through % step) + step) % step;
  return Array.from({ length: Math.ceil((end - first) / step) }, (_, n) => first + n * step);
}

function line(context, x, y, dx, dy) {
  context.moveTo(x, y);
  context.lineTo(x + dx, y + dy);
}
