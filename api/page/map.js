/** The latent map: shows a dot for each reply, and lets the user ask for a reply from any other place. */

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 320; // of the view box
const REACH = 3.25; // standard deviations from the middle to the edge, unless a reply lies further out
export const EDGE = 6; // the largest coordinate that the service accepts
const STEP = 0.25;
const APART = 18; // minimum distance between two dots, in the view box: closer ones are moved, so that both can be read
const NEAR = 0.4; // distance within which the cursor counts as at a reply

export class LatentMap {
  /**
   * @param {HTMLElement} box role application, with an empty svg
   * @param {HTMLElement} readout shows the place of the cursor
   * @param {{ask: (place: number[]) => void, light: (card: number|null) => void, go: (card: number) => void}} on
   *   a place is chosen; a dot is pointed at; a dot is clicked
   */
  constructor(box, readout, on) {
    Object.assign(this, { box, readout, on, svg: box.querySelector("svg"), dots: [], cursor: [0, 0], reach: REACH });
    this.layers = { rings: draw("g"), waiting: draw("g"), dots: draw("g"), cursor: cross() };
    this.svg.append(gradient(), ...Object.values(this.layers));
    box.addEventListener("click", (event) => this.#click(event));
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("blur", () => this.#showCursor(false));
    box.addEventListener("pointerover", (event) => on.light(cardOf(event)));
    box.addEventListener("pointerleave", () => on.light(null));
    this.show(null);
  }

  /** Draw dots `{card, place, asked}`; null: there is no map, and `why` gives the reason. */
  show(dots, why = "The map appears with the first replies.") {
    this.why = why;
    this.#use(dots !== null);
    this.dots = dots ?? [];
    const drawn = this.dots.filter(({ asked }) => !asked); // a place that the user chose stays where it was clicked
    const furthest = Math.max(0, ...drawn.flatMap(({ place }) => place.map(Math.abs)));
    this.reach = Math.min(EDGE + 0.5, Math.max(REACH, furthest + 0.5));
    this.layers.rings.replaceChildren(...this.#rings());
    const spots = this.#spots();
    this.layers.dots.replaceChildren(...this.dots.map(({ card }, index) => dot(card, spots[index])));
    this.layers.waiting.replaceChildren();
    this.#showCursor(false);
  }

  /** Highlight the dots of a card; none for null. */
  light(card) {
    for (const dot of [...this.layers.dots.children]) {
      const lit = card !== null && dot.dataset.card === String(card);
      dot.classList.toggle("lit", lit);
      if (lit && dot !== this.layers.dots.lastChild) this.layers.dots.append(dot); // on top of its neighbours
    }
  }

  /** Replies are loading: the map can't be used until they are shown. */
  rest() {
    this.why = "Waiting for replies.";
    this.#use(false);
  }

  #use(usable) {
    this.usable = usable;
    this.box.setAttribute("aria-disabled", String(!usable));
  }

  /** Mark the place from which a reply is loading; none for null. */
  wait(place) {
    const ring = draw("circle", { ...this.#at(place ?? [0, 0]), r: 10, class: "waiting" });
    this.layers.waiting.replaceChildren(...(place === null ? [] : [ring]));
  }

  #scale(value) {
    return (value * SIZE) / (2 * this.reach);
  }

  #at([x, y]) {
    return { cx: SIZE / 2 + this.#scale(x), cy: SIZE / 2 - this.#scale(y) };
  }

  #rings() {
    const middle = SIZE / 2;
    const glow = draw("circle", { cx: middle, cy: middle, r: this.#scale(2.5), fill: "url(#glow)" });
    const rings = [1, 2, 3].map((r) => draw("circle", { cx: middle, cy: middle, r: this.#scale(r), class: "ring" }));
    const axes = draw("path", { d: `M0 ${middle}H${SIZE}M${middle} 0V${SIZE}`, class: "axes" });
    return [glow, axes, ...rings];
  }

  /** Where dots are drawn: at their places, except that dots which would overlap are moved apart. */
  #spots() {
    const spots = this.dots.map(({ place }) => this.#at(place.map((value) => clamp(value, this.reach))));
    for (let round = 0; round < 20; round += 1) {
      spots.forEach((one, first) => spots.slice(0, first).forEach((other) => part(one, other)));
      this.dots.forEach(({ place, asked }, index) => asked && Object.assign(spots[index], this.#at(place)));
    }
    return spots;
  }

  #click(event) {
    const card = cardOf(event);
    if (card !== null) return this.on.go(card);
    const { left, top, width, height } = this.svg.getBoundingClientRect();
    const x = ((event.clientX - left) / width - 0.5) * 2 * this.reach;
    const y = (0.5 - (event.clientY - top) / height) * 2 * this.reach;
    return this.#ask([x, y]);
  }

  #ask(place) {
    if (this.usable) this.on.ask(place.map((value) => Math.round(clamp(value, EDGE) * 100) / 100));
  }

  #key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (move) {
      const step = event.shiftKey ? 4 * STEP : STEP;
      this.cursor = this.cursor.map((value, axis) => clamp(value + move[axis] * step, Math.min(EDGE, this.reach)));
    } else if (event.key === "Home") {
      this.cursor = [0, 0];
    } else if (event.key === "Enter" || event.key === " ") {
      this.#ask(this.cursor);
    } else {
      return;
    }
    event.preventDefault();
    this.#showCursor(true);
  }

  #showCursor(shown) {
    const { cx, cy } = this.#at(this.cursor);
    this.layers.cursor.setAttribute("transform", `translate(${cx} ${cy})`);
    this.layers.cursor.classList.toggle("shown", shown && this.usable);
    const near = this.dots.filter(({ place }) => Math.hypot(...place.map((v, i) => v - this.cursor[i])) < NEAR);
    const at = near.length ? `, at reply ${near.map(({ card }) => card + 1).join(" and ")}` : "";
    if (!this.usable) this.readout.textContent = this.why;
    else this.readout.textContent = shown ? `Cursor: ${spoken(this.cursor)}${at}.` : "";
  }
}

/** A place in words: "0.5 right, 1.25 down". */
export function spoken([x, y]) {
  const across = x === 0 ? "" : `${Math.abs(x)} ${x > 0 ? "right" : "left"}`;
  const along = y === 0 ? "" : `${Math.abs(y)} ${y > 0 ? "up" : "down"}`;
  return [across, along].filter(Boolean).join(", ") || "the middle";
}

/** Move two spots away from each other, until they are far enough apart. */
function part(one, other) {
  const [x, y] = [one.cx - other.cx || 0.01, one.cy - other.cy];
  const missing = Math.max(0, APART / Math.hypot(x, y) - 1) / 2;
  one.cx += x * missing;
  one.cy += y * missing;
  other.cx -= x * missing;
  other.cy -= y * missing;
}

function dot(card, { cx, cy }) {
  const group = draw("g", { class: "dot", transform: `translate(${cx} ${cy})` });
  const label = draw("text", { dy: "0.35em" });
  label.textContent = String(card + 1);
  group.dataset.card = String(card);
  group.append(draw("circle", { r: 11 }), label);
  return group;
}

function cardOf(event) {
  const dot = event.target.closest(".dot");
  return dot ? Number(dot.dataset.card) : null;
}

const clamp = (value, limit) => Math.min(limit, Math.max(-limit, value));

function draw(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}

function cross() {
  const group = draw("g", { class: "cursor" });
  group.append(draw("path", { d: "M-16 0h10M6 0h10M0-16v10M0 6v10" }), draw("circle", { r: 6 }));
  return group;
}

function gradient() {
  const glow = draw("radialGradient", { id: "glow" });
  glow.append(draw("stop", { offset: "0", class: "inner" }), draw("stop", { offset: "1", class: "outer" }));
  const definitions = draw("defs");
  definitions.append(glow);
  return definitions;
}
