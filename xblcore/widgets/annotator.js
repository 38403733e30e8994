// The annotator's front end: a plain ES module. It draws; what counts is what Python has saved.

const LAYERS = {
  wrong: { colour: "#d55e00", hint: "what the model should not look at" },
  object: { colour: "#0072b2", hint: "the object itself" },
};
const TOOLS = { brush: "Brush", eraser: "Eraser" };
const MOST_POINTS = 9000; // of one stroke; Python refuses more than 10,000
const MOST_RADIUS = 512; // image pixels, as in Python
const LONGEST_SIDE = 512; // of the picture on the screen, in CSS pixels
const PATIENCE = 5000; // milliseconds until an unanswered stroke is told

const HELP =
  "W wrong, O object, B brush, E eraser, [ and ] size, Z undo, Y redo, N next, P previous, " +
  "C CAM on or off. Arrows move the cursor, with Shift by one pixel; Space puts the brush down " +
  "and lifts it; Escape drops the line.";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

async function bitmap(bytes) {
  // An empty picture is none. Bytes come as a DataView.
  if (!bytes || !bytes.byteLength) return null;
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

// Stripes for "wrong", dots for "object": the layers are told apart without their colours too.
function pattern(context, layer) {
  const tile = element("canvas", { width: 8, height: 8 });
  const pen = tile.getContext("2d");
  pen.fillStyle = LAYERS[layer].colour;
  pen.globalAlpha = 0.45;
  pen.fillRect(0, 0, 8, 8);
  pen.globalAlpha = 1;
  if (layer === "wrong") {
    pen.strokeStyle = LAYERS[layer].colour;
    pen.lineWidth = 2;
    pen.beginPath();
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift, 8);
      pen.lineTo(shift + 8, 0);
    }
    pen.stroke();
  } else {
    pen.beginPath();
    pen.arc(4, 4, 2, 0, 2 * Math.PI);
    pen.fill();
  }
  return context.createPattern(tile, "repeat");
}

function render({ model, el }) {
  const pictures = { image: null, cam: null, wrong: null, object: null };
  const waiting = new Map(); // number of a message to its timer
  let serial = 0;
  let line = null; // { image, points } while the brush is down
  let cursor = null; // [x, y] in image pixels
  let camShown = true;
  let loading = 0;

  const canvas = element("canvas", {
    tabindex: "0", role: "application", class: "xbl-canvas",
    "aria-label": "Picture to mark. " + HELP,
  });
  const status = element("p", { class: "xbl-status", role: "status", "aria-live": "polite" });
  const title = element("p", { class: "xbl-title" });
  const progress = element("progress", { class: "xbl-progress", "aria-label": "Images marked" });
  const get = (name) => model.get(name);
  const facts = () => get("facts");

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
    update();
  }

  // The largest brush has the width of the picture.
  const largest = () =>
    Math.max(2, Math.min(facts().width / 2, facts().height / 2, MOST_RADIUS));

  function choice(trait, value, label, hint) {
    return element("button", {
      type: "button", title: hint, "data-choice": `${trait}=${value}`, onclick: () => set(trait, value),
    }, label);
  }

  function slider(trait, label, least, most, step) {
    const input = element("input", {
      type: "range", min: least, max: most, step, "data-trait": trait,
      oninput: (event) => set(trait, Number(event.target.value)),
    });
    return element("label", {}, label, input);
  }

  const action = (name, label, hint, onclick) =>
    element("button", { type: "button", title: hint, "data-action": name, onclick }, label);

  const bar = element("div", { class: "xbl-bar", role: "toolbar", "aria-label": "Drawing" },
    ...Object.entries(LAYERS).map(([layer, about]) => choice(
      "layer", layer, layer === "wrong" ? "Wrong (W)" : "Object (O)", "Mark " + about.hint)),
    ...Object.entries(TOOLS).map(([tool, label]) => choice(
      "tool", tool, `${label} (${label[0]})`, label)),
    slider("radius", "Size", 1, 100, "any"),
    slider("opacity", "CAM", 0, 1, 0.05),
    action("undo", "Undo (Z)", "Undo", () => say({ do: "undo" })),
    action("redo", "Redo (Y)", "Redo", () => say({ do: "redo" })),
    action("clear", "Clear layer", "Remove all marks of this layer; undo brings them back",
      () => say({ do: "clear", layer: get("layer") })),
    action("previous", "Previous (P)", "Previous image", () => go(-1)),
    action("next", "Next (N)", "Next image", () => go(1)),
  );
  const help = element("details", { class: "xbl-help" }, element("summary", {}, "Keys"), HELP);
  // JupyterLab would take single letters for its own commands.
  const root = element("div", { class: "xbl-annotator", "data-lm-suppress-shortcuts": "true" },
    title, bar, canvas, progress, status, help);

  function say(message) {
    const number = ++serial;
    waiting.set(number, setTimeout(() => {
      status.textContent = "Not saved: no answer from Python. Is the kernel running?";
      status.classList.add("xbl-error");
    }, PATIENCE));
    model.send({ image: facts().name, ...message, number });
    if (message.do === "stroke") status.textContent = "Saving";
  }

  function answered(message) {
    clearTimeout(waiting.get(message.number));
    waiting.delete(message.number);
    update();
    load(); // also where nothing changed, a stroke over what was marked: its line can go
  }

  function go(step) {
    const to = facts().index + step;
    if (to >= 0 && to < facts().count) {
      lift();
      cursor = null;
      say({ do: "go", to });
    }
  }

  // Drawing

  const clamp = (value, most) => Math.min(Math.max(value, 0), most);

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [
      clamp(((event.clientX - box.left) / box.width) * facts().width, facts().width),
      clamp(((event.clientY - box.top) / box.height) * facts().height, facts().height),
    ];
  }

  function put(point) {
    line = { image: facts().name, layer: get("layer"), tool: get("tool"), radius: get("radius"),
             points: [point] };
    paint();
  }

  function draw(point) {
    cursor = point;
    if (line) {
      line.points.push(point);
      if (line.points.length >= MOST_POINTS) {
        lift();
        put(point);
      }
    }
    paint();
  }

  function lift() {
    if (!line) return;
    const { image, layer, tool, radius, points } = line;
    stay(line);
    line = null;
    say({ do: "stroke", image, layer, tool, radius, points });
  }

  // Until Python has answered with the exact mask, the line stays as it was drawn.
  let kept = [];
  const stay = (drawn) => { kept.push(drawn); };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || line) return;
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    cursor = place(event);
    put(cursor);
  });
  canvas.addEventListener("pointermove", (event) => {
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    if (line && !canvas.hasPointerCapture(event.pointerId)) return; // drawn by keys, or another finger
    for (const one of events.length ? events : [event]) {
      const point = place(one);
      const last = line ? line.points[line.points.length - 1] : null;
      // A mouse may report a thousand points a second; those close by change nothing to be seen.
      const near = last && Math.hypot(point[0] - last[0], point[1] - last[1]) < get("radius") / 10;
      if (near) cursor = point;
      else draw(point);
    }
    paint();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) lift();
  });
  canvas.addEventListener("pointercancel", () => { line = null; paint(); });
  canvas.addEventListener("pointerleave", () => { if (!line) { cursor = null; paint(); } });

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function key(event) {
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.altKey) return false;
    if (event.ctrlKey || event.metaKey) {
      if (pressed === "z") say({ do: event.shiftKey ? "redo" : "undo" });
      else if (pressed === "y") say({ do: "redo" });
      else return false;
      return true;
    }
    if (pressed in ARROWS) {
      const { width, height } = facts();
      const step = event.shiftKey ? 1 : Math.max(1, get("radius") / 2);
      const [x, y] = cursor || [width / 2, height / 2];
      const [right, down] = ARROWS[pressed];
      draw([clamp(x + step * right, width), clamp(y + step * down, height)]);
      return true;
    }
    const radius = get("radius");
    const keys = {
      w: () => set("layer", "wrong"),
      o: () => set("layer", "object"),
      b: () => set("tool", "brush"),
      e: () => set("tool", "eraser"),
      "[": () => set("radius", Math.max(1, radius / 1.25)),
      "]": () => set("radius", Math.min(largest(), radius * 1.25)),
      z: () => say({ do: "undo" }),
      y: () => say({ do: "redo" }),
      n: () => go(1),
      p: () => go(-1),
      PageDown: () => go(1),
      PageUp: () => go(-1),
      c: () => { camShown = !camShown; update(); },
      Escape: () => { line = null; paint(); },
      " ": () => {
        if (line) lift();
        else {
          cursor = cursor || [facts().width / 2, facts().height / 2];
          put(cursor);
        }
      },
    };
    if (!(pressed in keys)) return false;
    keys[pressed]();
    return true;
  }

  canvas.addEventListener("keydown", (event) => {
    if (key(event)) event.preventDefault();
    event.stopPropagation();
  });

  // Painting

  function tinted(picture, layer) {
    const sheet = element("canvas", { width: canvas.width, height: canvas.height });
    const pen = sheet.getContext("2d");
    // The mask is grey and opaque: its brightness becomes the opacity.
    const small = element("canvas", { width: picture.width, height: picture.height });
    const inner = small.getContext("2d");
    inner.drawImage(picture, 0, 0);
    const pixels = inner.getImageData(0, 0, picture.width, picture.height);
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i];
    inner.putImageData(pixels, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = pattern(pen, layer);
    pen.fillRect(0, 0, canvas.width, canvas.height);
    return sheet;
  }

  let sheets = {};

  function stroke(pen, drawn, scale) {
    pen.save();
    pen.strokeStyle = drawn.tool === "brush" ? LAYERS[drawn.layer].colour : "#ffffff";
    pen.globalAlpha = 0.6;
    pen.lineWidth = 2 * drawn.radius * scale;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    const [first, ...rest] = drawn.points;
    pen.moveTo(first[0] * scale, first[1] * scale);
    pen.lineTo(first[0] * scale, first[1] * scale);
    for (const [x, y] of rest) pen.lineTo(x * scale, y * scale);
    pen.stroke();
    pen.restore();
  }

  function paint() {
    const pen = canvas.getContext("2d");
    const scale = canvas.width / (facts().width || 1);
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (pictures.image) pen.drawImage(pictures.image, 0, 0, canvas.width, canvas.height);
    if (pictures.cam && camShown) {
      pen.globalAlpha = get("opacity");
      pen.drawImage(pictures.cam, 0, 0, canvas.width, canvas.height);
      pen.globalAlpha = 1;
    }
    for (const layer of Object.keys(LAYERS)) if (sheets[layer]) pen.drawImage(sheets[layer], 0, 0);
    for (const drawn of kept) if (drawn.image === facts().name) stroke(pen, drawn, scale);
    if (line) stroke(pen, line, scale);
    if (cursor) { // a ring, dark in light, that shows on any ground
      for (const [colour, width] of [["#000000", 3], ["#ffffff", 1]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.beginPath();
        pen.arc(cursor[0] * scale, cursor[1] * scale, get("radius") * scale, 0, 2 * Math.PI);
        pen.stroke();
      }
    }
  }

  async function load() {
    const turn = ++loading;
    const done = kept.slice();
    const names = { image: "image", cam: "cam_image", wrong: "wrong_mask", object: "object_mask" };
    const found = {};
    for (const [name, trait] of Object.entries(names)) found[name] = await bitmap(get(trait));
    if (turn !== loading) return; // a later one is on its way
    Object.assign(pictures, found);
    kept = kept.filter((drawn) => !done.includes(drawn));
    const { width, height } = facts();
    const scale = LONGEST_SIDE / Math.max(width, height, 1);
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    sheets = {};
    for (const layer of Object.keys(LAYERS)) {
      if (pictures[layer]) sheets[layer] = tinted(pictures[layer], layer);
    }
    update();
  }

  function update() {
    const now = facts();
    title.textContent = `Image ${now.index + 1} of ${now.count}: ${now.name}`;
    for (const button of root.querySelectorAll("[data-choice]")) {
      const [trait, value] = button.dataset.choice.split("=");
      button.setAttribute("aria-pressed", String(get(trait) === value));
    }
    root.querySelector("[data-trait=radius]").max = largest();
    for (const input of root.querySelectorAll("[data-trait]")) input.value = get(input.dataset.trait);
    const off = {
      undo: !now.can_undo, redo: !now.can_redo, previous: now.index === 0,
      next: now.index === now.count - 1,
    };
    for (const [name, value] of Object.entries(off)) {
      // Not "disabled", which would take the focus away from under a keyboard.
      root.querySelector(`[data-action=${name}]`).setAttribute("aria-disabled", String(value));
    }
    progress.max = now.goal;
    progress.value = Math.min(now.marked, now.goal);
    if (!waiting.size) {
      status.textContent = now.status;
      status.classList.toggle("xbl-error", Boolean(now.error));
    }
    paint();
  }

  const traits = ["facts", "image", "cam_image", "wrong_mask", "object_mask"];
  const own = ["layer", "tool", "radius", "opacity"];
  for (const name of traits) model.on(`change:${name}`, load);
  for (const name of own) model.on(`change:${name}`, update);
  model.on("msg:custom", answered);
  el.append(root);
  load();
  return () => {
    for (const name of traits) model.off(`change:${name}`, load);
    for (const name of own) model.off(`change:${name}`, update);
    model.off("msg:custom", answered);
    for (const timer of waiting.values()) clearTimeout(timer);
  };
}

export default { render };
