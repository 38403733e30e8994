// The annotator's controls. It draws; what counts is what Python has saved.

const TOOLS = { brush: "Brush (B)", eraser: "Eraser (E)" };

const HELP =
  "W wrong, O object, B brush, E eraser, [ and ] size, Z undo, Y redo, N next, P previous, " +
  "C CAM on or off. On the picture: arrows move the cursor, with Shift by one pixel; Space puts " +
  "the brush down and lifts it; Escape drops the line; Page Down is the next image, Page Up the " +
  "previous one.";

function render({ model, el }) {
  let camShown = true;
  let answered = []; // strokes that are saved, shown as drawn until the new mask is
  let loading = 0;

  const get = (name) => model.get(name);
  const facts = () => get("facts");
  const post = new Post(model, () => update());
  const say = (message) => post.send({ image: facts().name, ...message });
  const brush = new Brush(model, (drawn) => post.send(drawn), () => update());

  function set(name, value) {
    model.set(name, value);
    try {
      model.save_changes();
    } catch {
      post.tell("The kernel has stopped or was restarted"); // it still counts in this view
    }
    update();
  }

  // Controls

  const described = `xbl-keys-${post.name}`;
  const canvas = element("canvas", {
    tabindex: "0", role: "application", class: "xbl-canvas", "aria-describedby": described,
  });
  const picture = new Picture(canvas);
  const title = element("p", { class: "xbl-title" });
  const status = element("p", { class: "xbl-status", role: "status", "aria-live": "polite" });
  const progress = element("progress", { class: "xbl-progress", "aria-label": "Images marked" });

  function choice(trait, value, hint, ...children) {
    return element("button", {
      type: "button", title: hint, "data-choice": `${trait}=${value}`, onclick: () => set(trait, value),
    }, ...children);
  }

  function slider(trait, label, least, most, step) {
    const input = element("input", {
      type: "range", min: least, max: most, step, "data-trait": trait,
      oninput: (event) => set(trait, Number(event.target.value)),
    });
    return element("label", { "data-slider": trait }, label, input, element("output"));
  }

  const action = (name, label, hint, onclick) =>
    element("button", { type: "button", title: hint, "data-action": name, onclick }, label);
  const group = (label, ...children) =>
    element("div", { class: "xbl-group", role: "group", "aria-label": label }, ...children);

  const root = element("div", {
    class: "xbl-annotator", "data-lm-suppress-shortcuts": "true", // or JupyterLab takes the letters
  },
    title,
    progress,
    status,
    element("div", { class: "xbl-bar" },
      group("What to mark", ...Object.entries(LAYERS).map(([layer, { colour, label, hint }]) =>
        choice("layer", layer, hint,
          element("span", { class: "xbl-swatch", style: `background: ${colour}` }), label))),
      group("Tool", ...Object.entries(TOOLS).map(([tool, label]) => choice("tool", tool, label, label)),
        slider("radius", "Size", 1, 100, "any")),
      group("Changes",
        action("undo", "Undo (Z)", "Undo", () => say({ do: "undo" })),
        action("redo", "Redo (Y)", "Redo", () => say({ do: "redo" })),
        action("clear", "Clear layer", "Remove all marks of this layer; undo brings them back",
          () => say({ do: "clear", layer: get("layer") }))),
      group("Images",
        action("previous", "Previous (P)", "Previous image", () => go(-1)),
        action("next", "Next (N)", "Next image", () => go(1))),
      group("CAM", slider("opacity", "CAM opacity", 0, 1, 0.05)),
      group("Files", action("export", "Export", "Write all masks as PNG and COCO JSON",
        () => say({ do: "export" }))),
    ),
    canvas,
    element("details", { class: "xbl-help" },
      element("summary", {}, "Keys"), element("p", { id: described }, HELP)),
  );

  function go(step) {
    const to = facts().index + step;
    if (to < 0 || to >= facts().count) return;
    brush.lift();
    brush.cursor = null;
    say({ do: "go", to });
  }

  function toggleCam() {
    camShown = !camShown;
    update();
  }

  listen(root, canvas, brush, { set, go, say, toggleCam });

  // Showing

  function paint() {
    picture.paint({
      opacity: camShown ? get("opacity") : 0,
      strokes: [...answered, ...post.strokes(facts().name), brush.line].filter(
        (drawn) => drawn && drawn.image === facts().name),
      cursor: brush.cursor,
      radius: get("radius"),
    });
  }

  async function load() {
    const turn = ++loading;
    const shown = answered.slice();
    const { width, height } = facts();
    const show = await picture.load({
      image: get("image"), cam: get("cam_image"), wrong: get("wrong_mask"), object: get("object_mask"),
    }, width, height);
    if (turn !== loading) return; // a later one is on its way
    show();
    answered = answered.filter((drawn) => !shown.includes(drawn));
    update();
  }

  function said() {
    if (brush.line) return "Drawing; not saved before the brush is lifted";
    if (post.trouble) return post.trouble;
    if (post.waiting.size) return "Saving";
    return facts().status;
  }

  function update() {
    const now = facts();
    title.textContent = `Image ${now.index + 1} of ${now.count}: ${now.name}`;
    canvas.setAttribute("aria-label", `Picture to mark: ${now.name}`);
    for (const button of root.querySelectorAll("[data-choice]")) {
      const [trait, value] = button.dataset.choice.split("=");
      button.setAttribute("aria-pressed", String(get(trait) === value));
    }
    root.querySelector("[data-trait=radius]").max = brush.largest();
    const spoken = { radius: `${get("radius").toFixed(1)} px`,
                     opacity: camShown ? `${Math.round(100 * get("opacity"))}%` : "off" };
    for (const [trait, text] of Object.entries(spoken)) {
      const input = root.querySelector(`[data-trait=${trait}]`);
      input.value = get(trait);
      input.setAttribute("aria-valuetext", text);
      input.nextElementSibling.textContent = text;
    }
    root.querySelector("[data-slider=opacity]").hidden = !picture.cam;
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
    const text = said();
    if (status.textContent !== text) status.textContent = text; // or it is read out again
    status.classList.toggle("xbl-error", Boolean(post.trouble || now.error));
    paint();
  }

  function hear(message) {
    const found = post.answered(message);
    if (found && found.do === "stroke") answered.push(found);
    load(); // also where nothing changed, a stroke over what was marked: its line can go
  }

  const own = ["layer", "tool", "radius", "opacity"];
  const shown = ["facts", "image", "cam_image", "wrong_mask", "object_mask"];
  for (const name of shown) model.on(`change:${name}`, load);
  for (const name of own) model.on(`change:${name}`, update);
  model.on("msg:custom", hear);
  el.append(root);
  load().then(() => post.resume());
  return () => {
    brush.lift();
    for (const name of shown) model.off(`change:${name}`, load);
    for (const name of own) model.off(`change:${name}`, update);
    model.off("msg:custom", hear);
    post.stop();
  };
}

export default { render };
