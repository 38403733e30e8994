// The annotator in the browser: it draws strokes and sends them to Python, which saves the masks.

const LAYERS = {
  wrong: { colour: "#ff4fd8", label: "Wrong (W)", hint: "Mark what the model should not look at" },
  object: { colour: "#ffffff", label: "Object (O)", hint: "Mark the object itself" },
}; // colours that are not in viridis, the colour map of the CAM
const TOOLS = { brush: "Brush (B)", eraser: "Eraser (E)", move: "Move (M)" };
const ORDERS = { suspicious: "most suspicious first", classes: "classes in turn" };
const JUDGE = 
  "If no prediction changes with a wrong region, the network did not depend on it. After refining, " +
  "fewer should change with a wrong region, more with an object, and more should be correct. These " +
  "images were trained on; images without the shortcut are a better test.";
const HELP =
  "W wrong, O object, B brush, E eraser, M move the enlarged picture, [ and ] size, Z undo, Y redo, " +
  "N next, P previous, C CAM on or off, + and - zoom, 0 fit, K blank and S swap what is marked. " +
  "On the picture: arrow keys move the cursor, with Shift by one pixel; Space puts the brush down " +
  "and lifts it; Escape discards the stroke; Page Down is the next image, Page Up the previous one. " +
  "On the strip of images: arrow keys, Home and End.";
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PANEL = 300; // width of the controls, in CSS pixels, as in the style sheet
const THUMB = 60; // width of a thumbnail with its margin
const SHARE = 0.6; // of the height of the window, for the picture
const MOST = 2048; // pixels of a side of the canvas
const SMALLEST = 0.01; // radius of the brush, as a share of the shorter side of the image
const LARGEST = 0.5;
const PATIENCE = 5000; // milliseconds after which a missing answer is reported

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const table = (heads, rows) => element("table", {},
  element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", {}, text)))),
  element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((text) => element("td", {}, text))))));

async function bitmap(bytes) {
  if (!bytes?.byteLength) return null;
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

// Stripes for "wrong" and dots for "object", so that the layers do not differ by colour alone.
function pattern(context, layer) {
  const tile = element("canvas", { width: 8, height: 8 });
  const pen = tile.getContext("2d");
  pen.fillStyle = pen.strokeStyle = LAYERS[layer].colour;
  pen.globalAlpha = 0.35;
  pen.fillRect(0, 0, 8, 8);
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.beginPath();
  if (layer === "wrong") {
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift, 8);
      pen.lineTo(shift + 8, 0);
    }
    pen.stroke();
  } else {
    pen.arc(4, 4, 2, 0, 2 * Math.PI);
    pen.fill();
  }
  return context.createPattern(tile, "repeat");
}

// A mask as a canvas: its pattern, and its border in its colour on black, visible on any image.
function tinted(mask, layer, width, height) {
  const small = element("canvas", { width: mask.width, height: mask.height });
  const inner = small.getContext("2d");
  inner.drawImage(mask, 0, 0);
  const pixels = inner.getImageData(0, 0, mask.width, mask.height);
  const { data } = pixels;
  for (let i = 0; i < data.length; i += 4) data[i + 3] = data[i]; // the mask is opaque
  inner.putImageData(pixels, 0, 0);
  const on = (x, y) =>
    x >= 0 && y >= 0 && x < mask.width && y < mask.height && data[4 * (y * mask.width + x)] > 0;
  const sheet = element("canvas", { width, height });
  const pen = sheet.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, width, height);
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = pattern(pen, layer);
  pen.fillRect(0, 0, width, height);
  pen.globalCompositeOperation = "source-over";
  const [across, down] = [width / mask.width, height / mask.height];
  const border = new Path2D();
  for (let y = 0; y <= mask.height; y++) {
    for (let x = 0; x <= mask.width; x++) {
      const [left, top] = [x * across, y * down];
      if (on(x, y) !== on(x - 1, y)) {
        border.moveTo(left, top);
        border.lineTo(left, top + down);
      }
      if (on(x, y) !== on(x, y - 1)) {
        border.moveTo(left, top);
        border.lineTo(left + across, top);
      }
    }
  }
  pen.lineCap = "square";
  for (const [colour, thickness] of [["#000000", 4], [LAYERS[layer].colour, 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    pen.stroke(border);
  }
  return sheet;
}

function drawStroke(pen, { tool, layer, radius, points }, scale) {
  pen.save();
  pen.strokeStyle = tool === "brush" ? LAYERS[layer].colour : "#ffffff";
  pen.globalAlpha = 0.6;
  pen.lineWidth = 2 * radius * scale;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(points[0][0] * scale, points[0][1] * scale);
  for (const [x, y] of points) pen.lineTo(x * scale, y * scale);
  pen.stroke();
  pen.restore();
}

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2); // several views of a widget get its answers
  const state = { layer: "wrong", tool: "brush", size: 1 / 16, opacity: 0.6, camShown: true, zoom: 1 };
  const waiting = new Map(); // id to { message, late }: sent, but not answered
  const answered = new Set(); // ids whose strokes stay in the picture until the new mask is loaded
  let [serial, loading] = [0, 0];
  let [line, cursor, pointer] = [null, null, null]; // stroke being drawn; [x, y]; id of a pointer
  let held = [0, 0]; // where the pointer holds the picture to move it
  let [image, cam, sheets, scale] = [null, null, [], 1];
  const thumbs = new Map(); // index to the picture, null if it was asked for
  let [shownIndex, shownOrder, laidOut, asking] = [-1, "", "", 0];

  const pictures = ["image", "cam_image", "wrong_mask", "object_mask"];
  const facts = () => model.get("facts");
  const radius = () => Math.max(1, state.size * Math.min(facts().width, facts().height));

  // Messages

  function send(message) {
    const id = `${view}-${serial++}`;
    const entry = { message: { image: facts().name, ...message }, late: false };
    waiting.set(id, entry);
    const late = () => {
      entry.late = true;
      update();
    };
    try {
      model.send({ id, ...entry.message });
      if (!["sort", "change"].includes(message.do)) setTimeout(late, PATIENCE); // they take long
    } catch {
      late(); // the kernel was restarted
    }
    update();
  }

  function set(name, value) {
    state[name] = value;
    update();
  }

  function go(to) {
    if (to < 0 || to >= facts().count || to === facts().index) return;
    lift();
    cursor = null;
    send({ do: "go", to });
  }
  const step = (by) => go(facts().index + by);

  function change(how) {
    if (!facts().predictions.length) return;
    send({ do: "change", layer: state.layer, change: how });
  }

  // The brush

  function put(point) {
    cursor = point;
    const { layer, tool } = state;
    line = { do: "stroke", image: facts().name, layer, tool, radius: radius(), points: [point] };
    update();
  }

  function move(point) {
    cursor = point;
    line?.points.push(point);
    update();
  }

  function lift() {
    const drawn = line;
    line = null;
    if (drawn) send(drawn);
  }

  // Controls

  const described = `xbl-keys-${view}`;
  const canvas = element("canvas", {
    tabindex: "0", role: "application", class: "xbl-canvas", "aria-describedby": described,
  });
  const title = element("p", { class: "xbl-title" });
  const status = element("p", { class: "xbl-status", role: "status", "aria-live": "polite" });
  const progress = element("progress", { class: "xbl-progress", "aria-label": "Images marked" });

  const group = (label, ...children) =>
    element("div", { class: "xbl-group", role: "group", "aria-label": label }, ...children);
  const action = (name, label, hint, onclick) =>
    element("button", { type: "button", title: hint, "data-action": name, onclick }, label);
  const choice = (name, value, hint, ...children) =>
    element("button", {
      type: "button", title: hint, "data-choice": `${name}=${value}`, onclick: () => set(name, value),
    }, ...children);
  const slider = (name, label, least, most) =>
    element("label", { "data-slider": name }, label, element("input", {
      type: "range", min: least, max: most, step: "any",
      oninput: (event) => set(name, Number(event.target.value)),
    }), element("output"));

  const viewport = element("div", { class: "xbl-viewport" }, canvas);
  const facing = element("div", { class: "xbl-facing" });
  const evidence = element("div", { class: "xbl-evidence", role: "region", "aria-label": "Evidence" });
  const network = element("select", { "aria-label": "CAM of the network",
    onchange: () => send({ do: "network", network: Number(network.value) }) },
    element("option", { value: 0 }, "before refining"), element("option", { value: 1 }, "after refining"));
  const order = element("select", { "aria-label": "Order of the images",
    onchange: () => send({ do: "sort", order: order.value }) },
    ...Object.entries(ORDERS).map(([value, text]) => element("option", { value }, text)));
  const rail = element("div", { class: "xbl-rail" });
  const strip = element("div", {
    class: "xbl-strip", role: "listbox", tabindex: "0", "aria-label": "Images", onscroll: showStrip,
    "aria-orientation": "horizontal",
  }, rail);
  const pane = element("div", { class: "xbl-pane" }, viewport, strip);
  const skipped = element("details", { class: "xbl-skipped" });

  const root = element("div", {
    class: "xbl-annotator", "data-lm-suppress-shortcuts": "true", // keeps letters from JupyterLab
  },
    title,
    progress,
    status,
    element("div", { class: "xbl-main" },
      pane,
      element("div", { class: "xbl-panel" },
        facing,
        group("Images",
          action("previous", "Previous (P)", "Previous image", () => step(-1)),
          action("next", "Next (N)", "Next image", () => step(1)), order),
        group("What to mark", ...Object.entries(LAYERS).map(([layer, { colour, label, hint }]) =>
          choice("layer", layer, hint,
            element("span", { class: "xbl-swatch", style: `background: ${colour}` }), label))),
        group("Tool", ...Object.entries(TOOLS).map(([tool, label]) => choice("tool", tool, label, label))),
        group("Size", slider("size", "Size", SMALLEST, LARGEST)),
        group("Zoom",
          action("out", "\u2212", "Zoom out (-)", () => zoom(1 / 1.5)),
          action("in", "+", "Zoom in (+)", () => zoom(1.5)),
          action("fit", "Fit (0)", "Fit to the window", () => zoom(0))),
        group("Changes",
          action("undo", "Undo (Z)", "Undo the last change", () => send({ do: "undo" })),
          action("redo", "Redo (Y)", "Repeat what was undone", () => send({ do: "redo" })),
          action("clear", "Clear layer", "Remove all marks of this layer",
            () => send({ do: "clear", layer: state.layer }))),
        group("CAM", slider("opacity", "CAM opacity", 0, 1), network),
        group("Test the marks", "Test the marks:",
          action("blanked", "Blank (K)", "Blank the marked region and predict again", () => change("blanked")),
          action("swapped", "Swap (S)", "Replace the marked region with that of an image of another class",
            () => change("swapped")),
          action("restored", "Restore", "Show the image as it is", () => send({ do: "go", to: facts().index }))),
        evidence,
        group("Files", action("export", "Export", "Write all masks as PNG and COCO JSON",
          () => send({ do: "export" }))))),
    skipped,
    element("details", { class: "xbl-help" },
      element("summary", {}, "Keys"), element("p", { id: described }, HELP)),
  );

  // The strip of images: only those in sight are in the document

  function showStrip() {
    const { count, index, marked } = facts();
    const first = Math.max(0, Math.floor(strip.scrollLeft / THUMB) - 2);
    const last = Math.min(count, Math.ceil((strip.scrollLeft + strip.clientWidth) / THUMB) + 2);
    rail.style.width = `${count * THUMB}px`;
    rail.replaceChildren(...Array.from({ length: last - first }, (_, n) => {
      const i = first + n;
      const text = `Image ${i + 1}${marked.includes(i) ? ", marked" : ""}`;
      return element("div", {
        role: "option", id: `${view}-${i}`, "aria-label": text, title: text, "aria-posinset": i + 1,
        "aria-setsize": count, "aria-selected": String(i === index), style: `left: ${i * THUMB}px`,
        class: marked.includes(i) ? "xbl-thumb xbl-marked" : "xbl-thumb", onclick: () => go(i),
      }, ...(thumbs.get(i) ? [thumbs.get(i)] : []));
    }));
    strip.setAttribute("aria-activedescendant", `${view}-${index}`);
    clearTimeout(asking);
    asking = setTimeout(() => { // not for all that fly past
      const images = [];
      for (let i = first; i < last; i++) if (!thumbs.has(i)) images.push(i);
      for (const i of images) thumbs.set(i, null);
      if (images.length) model.send({ do: "thumbnails", images });
    }, 100);
  }

  function forgetThumbs() {
    for (const picture of thumbs.values()) if (picture) URL.revokeObjectURL(picture.src);
    thumbs.clear();
  }

  strip.addEventListener("keydown", (event) => {
    const { index, count } = facts();
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: count - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });

  // Zoom: at 1 the picture fits the window

  function layOut() {
    const { width, height } = facts();
    const space = Math.max(200, (root.clientWidth || 800) - 20);
    const across = space > 2 * PANEL ? space - PANEL - 12 : space; // else the panel is below
    let fit = Math.min(across / width, Math.max(240, SHARE * window.innerHeight) / height);
    if (fit > 2) fit = Math.floor(fit); // all pixels of a tiny image have the same size
    const [wide, high] = [width, height].map((side) => Math.max(1, Math.round(side * fit)));
    const big = Math.round(wide * state.zoom);
    Object.assign(viewport.style, { width: `${wide + 2}px`, height: `${high + 2}px` });
    pane.style.width = `${Math.max(wide + 2, Math.min(across, PANEL))}px`;
    viewport.style.overflow = state.zoom > 1 ? "auto" : "hidden";
    Object.assign(canvas.style, { width: `${big}px`, height: `${Math.round(high * state.zoom)}px` });
    const dense = Math.ceil(window.devicePixelRatio || 1);
    const limit = Math.min(1, MOST / (Math.max(big, high * state.zoom) * dense));
    canvas.width = Math.max(1, Math.round(big * dense * limit));
    canvas.height = Math.max(1, Math.round((canvas.width * high) / wide));
    scale = canvas.width / width;
    laidOut = [root.clientWidth, window.innerHeight].join();
  }

  function zoom(factor) {
    const { width, height } = facts();
    const { scrollLeft: left, scrollTop: top, clientWidth: wide, clientHeight: high } = viewport;
    const before = canvas.getBoundingClientRect();
    const [x, y] = cursor ? [cursor[0] / width, cursor[1] / height]
      : [(left + wide / 2) / before.width, (top + high / 2) / before.height];
    state.zoom = factor ? clamp(state.zoom * factor, 1, 16) : 1;
    layOut();
    const after = canvas.getBoundingClientRect(); // the point stays where it is
    viewport.scrollTo(left + x * (after.width - before.width), top + y * (after.height - before.height));
    load();
  }

  viewport.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8);
  }, { passive: false });

  function keepInSight() {
    const [x, y] = [cursor[0] / facts().width, cursor[1] / facts().height];
    viewport.scrollTo(x * viewport.scrollWidth - viewport.clientWidth / 2,
                      y * viewport.scrollHeight - viewport.clientHeight / 2);
  }

  // Pointer and keys

  function place(event) {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left - canvas.clientLeft) / canvas.clientWidth;
    const y = (event.clientY - box.top - canvas.clientTop) / canvas.clientHeight;
    const { width, height } = facts();
    return [clamp(x * width, 0, width), clamp(y * height, 0, height)];
  }

  // A mouse may report a thousand points a second.
  function isNear([x, y]) {
    const last = line?.points.at(-1);
    return last && Math.hypot(x - last[0], y - last[1]) < radius() / 10;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || line) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pointer = event.pointerId;
    held = [event.clientX, event.clientY];
    if (state.tool !== "move") put(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (line && event.pointerId !== pointer) return; // drawn by keys, or by another finger
    if (state.tool === "move") {
      if (event.pointerId !== pointer) return;
      viewport.scrollBy(held[0] - event.clientX, held[1] - event.clientY);
      held = [event.clientX, event.clientY];
      return;
    }
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) {
      const point = place(one);
      if (!isNear(point)) move(point);
    }
  });
  canvas.addEventListener("lostpointercapture", (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    lift();
    if (event.pointerType === "touch") cursor = null;
    update();
  });
  canvas.addEventListener("pointerleave", () => {
    if (line) return;
    cursor = null;
    update();
  });

  function keyOnPicture(event) {
    const { width, height } = facts();
    const here = cursor || [width / 2, height / 2];
    if (event.key in ARROWS) {
      const by = event.shiftKey ? 1 : Math.max(1, radius() / 2);
      const [right, down] = ARROWS[event.key];
      move([clamp(here[0] + by * right, 0, width), clamp(here[1] + by * down, 0, height)]);
      keepInSight();
    } else if (event.key === " ") {
      if (line) lift();
      else if (state.tool !== "move") put(here);
    } else if (event.key === "Escape") {
      line = null;
      update();
    } else if (event.key === "PageDown") step(1);
    else if (event.key === "PageUp") step(-1);
    else return false;
    return true;
  }

  const resize = (factor) => set("size", clamp(state.size * factor, SMALLEST, LARGEST));
  const letters = {
    w: () => set("layer", "wrong"),
    o: () => set("layer", "object"),
    b: () => set("tool", "brush"),
    e: () => set("tool", "eraser"),
    m: () => set("tool", "move"),
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: () => zoom(0),
    k: () => change("blanked"),
    s: () => change("swapped"),
    "[": () => resize(1 / 1.25),
    "]": () => resize(1.25),
    z: () => send({ do: "undo" }),
    y: () => send({ do: "redo" }),
    n: () => step(1),
    p: () => step(-1),
    c: () => set("camShown", !state.camShown),
  };

  function key(event) {
    const pressed = event.key.toLowerCase();
    if (event.altKey) return false;
    if (event.ctrlKey || event.metaKey) {
      if (pressed === "z") send({ do: event.shiftKey ? "redo" : "undo" });
      else if (pressed === "y") send({ do: "redo" });
      else return false;
      return true;
    }
    if (event.target.tagName === "SELECT") return false; // letters choose an option
    if (event.target === canvas && keyOnPicture(event)) return true;
    if (!(pressed in letters)) return false;
    letters[pressed]();
    return true;
  }

  root.addEventListener("keydown", (event) => {
    if (key(event)) event.preventDefault();
    event.stopPropagation(); // JupyterLab has commands on single keys
  });

  // Showing

  function paint() {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (const [picture, alpha] of [[image, 1], [cam, state.camShown ? state.opacity : 0]]) {
      if (!picture) continue;
      pen.globalAlpha = alpha;
      pen.imageSmoothingEnabled = picture.width > canvas.width; // enlarged pixels stay sharp
      pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    }
    pen.globalAlpha = 1;
    for (const sheet of facts().change ? [] : sheets) pen.drawImage(sheet, 0, 0); // or they hide it
    const strokes = [...waiting.values()].map(({ message }) => message).concat(line ?? []);
    for (const stroke of strokes) {
      if (stroke.do === "stroke" && stroke.image === facts().name) drawStroke(pen, stroke, scale);
    }
    if (!cursor) return;
    for (const [colour, width] of [["#000000", 4], ["#ffffff", 2]]) { // visible on any image
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.arc(cursor[0] * scale, cursor[1] * scale, radius() * scale, 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  async function load() {
    const turn = ++loading;
    const done = [...answered];
    const bitmaps = await Promise.all(pictures.map((name) => bitmap(model.get(name))));
    const [picture, overlay, ...masks] = bitmaps;
    if (turn !== loading) return; // a later call replaces this one
    layOut();
    [image, cam] = [picture, overlay];
    sheets = Object.keys(LAYERS).map((layer, n) => tinted(masks[n], layer, canvas.width, canvas.height));
    for (const id of done) {
      waiting.delete(id);
      answered.delete(id);
    }
    update();
  }

  function statusText() {
    if (line) return "Drawing; lift the brush to save";
    const late = [...waiting.values()].some((entry) => entry.late);
    if (late) return "Not saved yet: the kernel is busy or was restarted. Wait, or run this cell again after a restart";
    return waiting.size ? "Working" : facts().status;
  }

  function update() {
    const now = facts();
    title.textContent = `Image ${now.index + 1} of ${now.count}: ${now.name}`;
    canvas.setAttribute("aria-label", `Picture to mark: ${now.name}`);
    for (const button of root.querySelectorAll("[data-choice]")) {
      const [name, value] = button.dataset.choice.split("=");
      button.setAttribute("aria-pressed", String(state[name] === value));
    }
    const spoken = { size: `${radius().toFixed(1)} px`,
                     opacity: state.camShown ? `${Math.round(100 * state.opacity)}%` : "off" };
    for (const [name, text] of Object.entries(spoken)) {
      const [input, output] = root.querySelectorAll(`[data-slider=${name}] > *`);
      input.value = state[name];
      input.setAttribute("aria-valuetext", text);
      output.textContent = text;
    }
    root.querySelector("[data-slider=opacity]").hidden = !cam;
    const alone = !now.predictions.length; // no network
    const here = !now.has_marks.includes(state.layer);
    const unusable = { undo: !now.can_undo, redo: !now.can_redo, previous: now.index === 0,
                       next: now.index === now.count - 1, fit: state.zoom === 1, out: state.zoom === 1,
                       restored: !now.change, blanked: here, swapped: here };
    for (const [name, value] of Object.entries(unusable)) {
      // "disabled" would take the focus away from keyboard users.
      root.querySelector(`[data-action=${name}]`).setAttribute("aria-disabled", String(value));
    }
    progress.max = now.goal;
    progress.value = Math.min(now.marked.length, now.goal);
    network.hidden = now.predictions.length < 2;
    network.value = now.network;
    order.hidden = alone;
    order.value = now.order;
    root.querySelector("[data-action=blanked]").parentElement.hidden = alone;
    canvas.style.cursor = state.tool === "move" ? "grab" : "crosshair";
    const names = now.predictions.length > 1 ? ["Before", "After"] : ["Prediction"];
    const seen = [["Label", now.label], ...now.predictions.map((text, n) => [names[n], text])];
    facing.replaceChildren(...seen.filter(([, text]) => text).flatMap(
      ([name, text]) => [element("span", {}, name), element("strong", {}, text)]));
    const heads = ["Predictions for all marked images", ...(names.length > 1 ? names : ["Now"])];
    evidence.hidden = !now.evidence.length;
    evidence.replaceChildren(table(heads, now.evidence), JUDGE);
    skipped.hidden = !now.skipped.length;
    const text = statusText();
    if (status.textContent !== text) status.textContent = text; // or it is read out again
    status.classList.toggle("xbl-error", now.error || text.startsWith("Not saved"));
    paint();
  }

  // What changes with the image, and not with each move of the brush
  async function renew() {
    const { index, order: by, skipped: files } = facts();
    if (by !== shownOrder) forgetThumbs();
    if (by !== shownOrder || index !== shownIndex) {
      strip.scrollLeft = (index + 0.5) * THUMB - strip.clientWidth / 2;
    }
    [shownOrder, shownIndex] = [by, index];
    skipped.querySelector("table")?.rows.length === files.length + 1 || skipped.replaceChildren(
      element("summary", {}, `Files skipped: ${files.length}`), table(["File", "Reason"], files));
    showStrip();
    await load();
  }

  function hear(message, buffers) {
    if (message.order === facts().order) {
      message.thumbnails.forEach((i, n) => {
        const url = URL.createObjectURL(new Blob([buffers[n]], { type: "image/png" }));
        thumbs.set(i, element("img", { src: url, alt: "" }));
      });
      showStrip();
    }
    if (!waiting.has(message.answered)) return;
    answered.add(message.answered);
    load(); // also if nothing changed, so that the stroke is removed from the picture
  }

  const seen = () => {
    if ([root.clientWidth, window.innerHeight].join() !== laidOut) renew();
  };
  const watch = new ResizeObserver(seen);
  watch.observe(root);
  window.addEventListener("resize", seen);
  model.on("change:facts", renew);
  for (const name of pictures) model.on(`change:${name}`, load);
  model.on("msg:custom", hear);
  el.append(root);
  renew();
  return () => {
    lift();
    watch.disconnect();
    window.removeEventListener("resize", seen);
    forgetThumbs();
    model.off("change:facts", renew);
    for (const name of pictures) model.off(`change:${name}`, load);
    model.off("msg:custom", hear);
  };
}

export default { render };
