// A canvas as large as the map and as sharp as the screen. Owns its size; it lies under the map's
// controls and takes no clicks.

const SHARPEST = 2;

export class Canvas {
  #element;
  context;

  constructor(parent, name) {
    this.#element = document.createElement("canvas");
    this.#element.className = `sheet ${name}`;
    parent.prepend(this.#element);
    this.context = this.#element.getContext("2d");
  }

  // Empty, in CSS pixels, ready to be drawn on.
  clear({ width, height }) {
    const ratio = Math.min(SHARPEST, devicePixelRatio);
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#element.width !== w || this.#element.height !== h) {
      this.#element.width = w;
      this.#element.height = h;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, width, height);
    return this.context;
  }
}
