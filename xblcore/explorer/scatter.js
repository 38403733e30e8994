// A scatter plot whose dots can be clicked and reached by keys: a plain ES module, an SVG, no library.

const SVG = "http://www.w3.org/2000/svg"; // a name space, not an address
const SIZE = { width: 640, height: 430, left: 62, right: 14, top: 14, bottom: 52 };

function node(name, attributes = {}, ...children) {
  const made = name.startsWith("html:")
    ? document.createElement(name.slice(5))
    : document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// From a value to a pixel; the ends of a reversed axis are the other way round.
const scale = (ends, from, to) => (value) =>
  from + ((value - ends[0]) / (ends[1] - ends[0])) * (to - from);

const RIM = "#6b6b6b"; // of a control; some colours of methods are too pale on white to be seen alone

function marker(method, filled, size) {
  const path = (fill, stroke, wide) => node("path", {
    d: method.path, transform: `scale(${size})`, "vector-effect": "non-scaling-stroke",
    fill, stroke, "stroke-width": wide,
  });
  if (filled) return path(method.colour, RIM, 0.8);
  return node("g", {}, path("#ffffff", RIM, 3.2), path("#ffffff", method.colour, 1.8));
}

function axes(plot, x, y) {
  const { width, height, left, right, top, bottom } = SIZE;
  const drawn = node("g", { "aria-hidden": "true" });
  for (const { at, text } of plot.x.ticks) {
    drawn.append(
      node("line", { class: "xbl-grid", x1: x(at), x2: x(at), y1: top, y2: height - bottom }),
      node("text", { x: x(at), y: height - bottom + 18, "text-anchor": "middle" }, text));
  }
  for (const { at, text } of plot.y.ticks) {
    drawn.append(
      node("line", { class: "xbl-grid", x1: left, x2: width - right, y1: y(at), y2: y(at) }),
      node("text", { x: left - 8, y: y(at) + 4, "text-anchor": "end" }, text));
  }
  const middle = (top + height - bottom) / 2;
  drawn.append(
    node("text", {
      class: "xbl-axis", x: (left + width - right) / 2, y: height - 10, "text-anchor": "middle",
    }, plot.x.label),
    node("text", {
      class: "xbl-axis", transform: `translate(16 ${middle}) rotate(-90)`, "text-anchor": "middle",
    }, plot.y.label));
  return drawn;
}

function render({ model, el }) {
  const title = node("html:p", { class: "xbl-heading" });
  const told = node("html:p", { class: "xbl-note" });
  const figure = node("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, class: "xbl-scatter" });
  const key = node("html:ul", { class: "xbl-key", "aria-label": "Methods" });
  const line = node("html:p", { class: "xbl-line", role: "status" });
  el.classList.add("xbl-plot");
  el.append(title, told, figure, line, key);
  let dots = []; // the SVG nodes, in the order of plot.dots
  let current = 0; // the dot that the keys are at

  const plot = () => model.get("plot");

  function choose(number) {
    model.set("chosen", number);
    model.save_changes();
    mark();
  }

  function goTo(number) {
    current = number;
    dots.forEach((dot, n) => dot.setAttribute("tabindex", n === current ? "0" : "-1"));
  }

  function mark() {
    const chosen = model.get("chosen");
    dots.forEach((dot, n) => dot.setAttribute("aria-pressed", String(n === chosen)));
    if (dots[chosen]) {
      if (!figure.contains(document.activeElement)) goTo(chosen);
      const focused = document.activeElement === dots[chosen];
      dots[chosen].parentNode.append(dots[chosen]); // on top of the others; a move drops the focus
      if (focused) dots[chosen].focus();
      line.textContent = "Chosen: " + plot().dots[chosen].label;
    } else line.textContent = "Choose a dot to see its run.";
  }

  const say = (number) => { line.textContent = plot().dots[number].label; };

  // The next dot along an axis, on the screen; ties by number, so that every dot is reached.
  function next(axis, step) {
    const { ends } = plot()[axis];
    const sign = Math.sign(ends[1] - ends[0]);
    const order = plot().dots
      .map((dot, n) => [dot[axis] * sign, n])
      .sort((one, two) => one[0] - two[0] || one[1] - two[1])
      .map(([, n]) => n);
    const place = order.indexOf(current) + step;
    return order[Math.min(Math.max(place, 0), order.length - 1)];
  }

  figure.addEventListener("keydown", (event) => {
    const last = dots.length;
    const move = {
      ArrowRight: () => next("x", 1), ArrowLeft: () => next("x", -1),
      ArrowUp: () => next("y", 1), ArrowDown: () => next("y", -1),
      Home: () => next("x", -last), End: () => next("x", last),
    }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !last) return;
    if (move) {
      goTo(move());
      dots[current].focus();
    } else if (event.key === "Enter" || event.key === " ") choose(current);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook would leave or run the cell
  });

  function draw() {
    const shown = plot();
    const empty = !shown.dots || !shown.dots.length;
    title.textContent = shown.title || "";
    told.textContent = shown.told || "";
    for (const part of [figure, key, line]) part.hidden = empty;
    figure.style.display = empty ? "none" : "";
    figure.replaceChildren();
    key.replaceChildren();
    dots = [];
    if (empty) return;
    const { width, height, left, right, top, bottom } = SIZE;
    const x = scale(shown.x.ends, left, width - right);
    const y = scale(shown.y.ends, height - bottom, top);
    figure.setAttribute("role", "group");
    figure.setAttribute("aria-label",
      `${shown.title}. ${shown.dots.length} runs. Arrow keys go from dot to dot, Enter chooses.`);
    const group = node("g");
    dots = shown.dots.map((dot, n) => {
      const made = node("g", {
        class: "xbl-dot", role: "button", "aria-label": dot.label, "data-number": n,
        transform: `translate(${x(dot.x)} ${y(dot.y)})`,
      }, node("circle", { r: 11, class: "xbl-ring" }),
      marker(shown.methods[dot.method], dot.filled, 5.5));
      made.addEventListener("click", () => { goTo(n); made.focus(); choose(n); });
      made.addEventListener("focus", () => say(n));
      made.addEventListener("mouseenter", () => say(n));
      made.addEventListener("mouseleave", mark);
      return made;
    });
    group.append(...dots);
    figure.append(axes(shown, x, y), group);
    for (const method of shown.methods) {
      const sample = node("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" },
        marker(method, true, 5.5));
      key.append(node("html:li", {}, sample, method.name));
    }
    if (shown.dots.some((dot) => !dot.filled)) key.append(node("html:li", {}, "hollow: a weight not chosen"));
    goTo(Math.min(Math.max(model.get("chosen"), 0), dots.length - 1));
    mark();
  }

  model.on("change:plot", draw);
  model.on("change:chosen", mark);
  draw();
}

export default { render };
