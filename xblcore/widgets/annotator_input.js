// The brush, moved by mouse, finger, pen or keys.

const MOST_POINTS = 9000; // of one stroke; Python refuses more than 10,000
const MOST_RADIUS = 512; // image pixels, as in Python
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const clamp = (value, most) => Math.min(Math.max(value, 0), most);

class Brush {
  // `drawn` takes a finished stroke; `changed` is called when there is something else to be seen.
  constructor(model, drawn, changed) {
    this.model = model;
    this.drawn = drawn;
    this.changed = changed;
    this.line = null; // the stroke being drawn
    this.cursor = null; // [x, y] in image pixels
  }

  get size() {
    const { width, height } = this.model.get("facts");
    return [width, height];
  }

  get radius() {
    return this.model.get("radius");
  }

  // The largest brush has the width of the picture.
  largest() {
    return Math.max(2, Math.min(...this.size.map((side) => side / 2), MOST_RADIUS));
  }

  middle() {
    return this.size.map((side) => side / 2);
  }

  put(point) {
    const [layer, tool] = [this.model.get("layer"), this.model.get("tool")];
    this.cursor = point;
    this.line = { do: "stroke", image: this.model.get("facts").name, layer, tool,
                  radius: this.radius, points: [point] };
    this.changed();
  }

  move(point) {
    this.cursor = point;
    if (this.line) {
      this.line.points.push(point);
      if (this.line.points.length >= MOST_POINTS) {
        this.lift();
        this.put(point);
      }
    }
    this.changed();
  }

  lift() {
    const { line } = this;
    if (!line) return;
    this.line = null;
    this.drawn(line);
  }

  drop() {
    this.line = null;
    this.changed();
  }

  // Whether a point is so close to the last one that nothing would be seen of it: a mouse may
  // report a thousand a second.
  isNear([x, y]) {
    const last = this.line?.points.at(-1);
    return last && Math.hypot(x - last[0], y - last[1]) < this.radius / 10;
  }
}

function listen(root, canvas, brush, { set, go, say, toggleCam }) {
  function place(event) {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left - canvas.clientLeft) / canvas.clientWidth;
    const y = (event.clientY - box.top - canvas.clientTop) / canvas.clientHeight;
    const [width, height] = brush.size;
    return [clamp(x * width, width), clamp(y * height, height)];
  }

  let drawing = null; // id of the mouse, finger or pen that draws

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || brush.line) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    drawing = event.pointerId;
    brush.put(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (brush.line && event.pointerId !== drawing) return; // drawn by keys, or by another finger
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of events.length ? events : [event]) {
      const point = place(one);
      if (!brush.isNear(point)) brush.move(point);
    }
  });
  // Let go, or taken away by the browser, for a call on a phone say: what was drawn counts.
  canvas.addEventListener("lostpointercapture", (event) => {
    if (event.pointerId !== drawing) return;
    drawing = null;
    brush.lift();
    if (event.pointerType === "touch") brush.cursor = null; // no finger, no ring
    brush.changed();
  });
  canvas.addEventListener("pointerleave", () => {
    if (brush.line) return;
    brush.cursor = null;
    brush.changed();
  });

  function keyOnPicture(event) {
    if (event.key in ARROWS) {
      const [width, height] = brush.size;
      const step = event.shiftKey ? 1 : Math.max(1, brush.radius / 2);
      const [x, y] = brush.cursor || brush.middle();
      const [right, down] = ARROWS[event.key];
      brush.move([clamp(x + step * right, width), clamp(y + step * down, height)]);
    } else if (event.key === " ") {
      if (brush.line) brush.lift();
      else brush.put(brush.cursor || brush.middle());
    } else if (event.key === "Escape") brush.drop();
    else if (event.key === "PageDown") go(1);
    else if (event.key === "PageUp") go(-1);
    else return false;
    return true;
  }

  const letters = {
    w: () => set("layer", "wrong"),
    o: () => set("layer", "object"),
    b: () => set("tool", "brush"),
    e: () => set("tool", "eraser"),
    "[": () => set("radius", Math.max(1, brush.radius / 1.25)),
    "]": () => set("radius", Math.min(brush.largest(), brush.radius * 1.25)),
    z: () => say({ do: "undo" }),
    y: () => say({ do: "redo" }),
    n: () => go(1),
    p: () => go(-1),
    c: toggleCam,
  };

  function key(event) {
    const pressed = event.key.toLowerCase();
    if (event.altKey) return false;
    if (event.ctrlKey || event.metaKey) {
      if (pressed === "z") say({ do: event.shiftKey ? "redo" : "undo" });
      else if (pressed === "y") say({ do: "redo" });
      else return false;
      return true;
    }
    if (event.target === canvas && keyOnPicture(event)) return true;
    if (!(pressed in letters)) return false;
    letters[pressed]();
    return true;
  }

  root.addEventListener("keydown", (event) => {
    if (key(event)) event.preventDefault();
    event.stopPropagation(); // JupyterLab has commands on single keys
  });
}
