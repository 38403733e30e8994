"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const labels = JSON.parse($("#labels").textContent);
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

// Of a group of items, the Tab key reaches one; the arrow keys move from it to the others.
const focusOn = (items, n) => items.forEach((item, k) => item.setAttribute("tabindex", k === n ? 0 : -1));
function rove(items, columns, activate = () => {}) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  items.forEach((item, n) => {
    item.onkeydown = (event) => {
      const to = { Home: 0, End: items.length - 1 }[event.key] ?? n + steps[event.key];
      if (!items[to]) return;
      event.preventDefault();
      focusOn(items, to);
      items[to].focus();
      activate(to);
    };
  });
  focusOn(items, 0);
}

// Theme: as the system, light or dark. Pages on disk may have no storage.
const themes = ["auto", "light", "dark"], root = document.documentElement;
function setTheme(name) {
  root.dataset.theme = name;
  $("#theme").textContent = `Theme: ${name}`;
  try { localStorage.setItem("theme", name); } catch { /* not kept */ }
}
let kept = "auto";
try { kept = localStorage.getItem("theme") ?? kept; } catch { /* not kept */ }
setTheme(kept);
$("#theme").onclick = () => setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % 3]);

// The table of contents marks the current section.
const seen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
  $$("nav a").forEach((link) => { link.ariaCurrent = link.hash === `#${entry.target.id}` ? "true" : null; });
}), { rootMargin: "-20% 0px -70% 0px" });
$$("section").forEach((section) => seen.observe(section));

const tabs = $$('[role="tab"]');
function choose(n) {
  tabs.forEach((tab, k) => {
    tab.setAttribute("aria-selected", k === n);
    $(`#${tab.getAttribute("aria-controls")}`).hidden = k !== n;
  });
  focusOn(tabs, n);
}
rove(tabs, 1, choose);
tabs.forEach((tab, n) => { tab.onclick = () => choose(n); });

// Tables are sorted by number where there is one; what has none comes last.
const number = (text) => parseFloat(text.replace("−", "-"));
$$(".sortable th").forEach((head) => {
  $("button", head).onclick = () => {
    const body = head.closest("table").tBodies[0], key = (row) => row.cells[head.cellIndex].textContent;
    const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
    $$("th", head.parentNode).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = [...body.rows].some((row) => !isNaN(number(key(row))));
    body.append(...[...body.rows].sort((a, b) => {
      const [x, y] = [number(key(a)), number(key(b))];
      if (!numeric) return sign * key(a).localeCompare(key(b));
      return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : sign * (x - y);
    }));
  };
});

// A dot shows its numbers, and the same run in the other charts.
const tip = $("#tip");
function hideTip() {
  tip.hidden = true;
  $$(".same").forEach((dot) => dot.classList.remove("same"));
}
function showTip(dot) {
  hideTip();
  tip.textContent = dot.getAttribute("aria-label");
  tip.hidden = false;
  const box = dot.getBoundingClientRect(), above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, Math.min(box.left - 60, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${above > 50 ? above : box.bottom + 8}px`;
  $$(`[data-run="${dot.dataset.run}"]`, dot.closest(".charts")).forEach((other) => other.classList.add("same"));
}
$$(".chart svg").forEach((chart) => {
  const dots = $$("circle", chart);
  rove(dots, 5);
  dots.forEach((dot, n) => {
    dot.onpointerenter = dot.onfocus = () => { showTip(dot); focusOn(dots, n); };
    dot.onpointerleave = dot.onblur = hideTip;
  });
});
addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
addEventListener("scroll", () => { // focusing a dot may scroll the page
  const dot = document.activeElement;
  if (!tip.hidden && dot.matches("circle[data-run]")) showTip(dot); else hideTip();
}, { passive: true });
// The explorer: sprites hold all images, masks and CAMs of a task, see xblcore.study.gallery.
const field = (name) => $(`#x-${name}`), stores = {};
const viridis = [[68, 1, 84], [59, 81, 139], [33, 144, 141], [92, 200, 99], [253, 231, 37]];
const flips = (own, n) => own.classes[0][n] !== own.classes[1][n];
let current = 0;

async function picture(url) {
  const image = Object.assign(new Image(), { src: url });
  await image.decode();
  return image;
}

async function pixels(url) { // a function that returns the first channel of a pixel
  const image = await picture(url), { width, height } = image;
  const context = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  return (x, y) => rgba[4 * (y * width + x)];
}

const load = (task) => stores[task] ??= (async () => {
  const data = JSON.parse($(`#data-${task}`).textContent), cams = {};
  for (const [name, url] of Object.entries(data.cams)) cams[name] = await pixels(url);
  const images = [await picture(data.clean), await picture(data.decoy)];
  return { ...data, images, cams, mask: await pixels(data.masks), names: Object.keys(data.methods) };
})();

// Draw image n, with the CAM of a method over it if one is given; return whether the CAM is all zero.
function draw(canvas, data, n, method, explainer, opacity) {
  const { side, columns, grid: [h, w] } = data, context = canvas.getContext("2d"), scale = canvas.width / side;
  const left = (n % columns) * side, top = Math.floor(n / columns) * side, all = [0, 0, canvas.width, canvas.height];
  context.imageSmoothingEnabled = false;
  data.images.forEach((image) => context.drawImage(image, left, top, side, side, ...all));
  let peak = 0;
  if (method) {
    const map = new ImageData(w, h), row = data.names.indexOf(method) * h;
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
      const value = data.cams[explainer](n * w + x, row + y), place = value / 255 * 4, low = Math.min(3, Math.floor(place));
      peak = Math.max(peak, value);
      map.data.set([...viridis[low].map((c, k) => c + (place - low) * (viridis[low + 1][k] - c)), 255], 4 * (y * w + x));
    }
    const small = make("canvas", { width: w, height: h });
    small.getContext("2d").putImageData(map, 0, 0);
    context.globalAlpha = opacity;
    context.drawImage(small, ...all);
    context.globalAlpha = 1;
  }
  const mask = (x, y) => (Math.min(x, y) < 0 || Math.max(x, y) >= side ? 0 : data.mask(left + x, top + y));
  for (const [kind, colour] of [[127, "#56b4e9"], [255, "#e69f00"]]) {
    const path = new Path2D();
    for (let y = 0; y <= side; y++) for (let x = 0; x <= side; x++) {
      const inside = mask(x, y) === kind;
      if (inside !== (mask(x - 1, y) === kind)) path.rect(x * scale, y * scale, 0, scale);
      if (inside !== (mask(x, y - 1) === kind)) path.rect(x * scale, y * scale, scale, 0);
    }
    for (const [lineWidth, strokeStyle] of [[4.5, "#000"], [2.5, colour]]) {
      Object.assign(context, { lineWidth, strokeStyle });
      context.stroke(path);
    }
  }
  return peak === 0;
}

function predicted(data, method, view, n) { // the prediction, whether it is right, and its probability
  const own = data.methods[method], found = own.classes[view][n], right = found === data.labels[n];
  return { right, text: `${right ? "✓" : "✗"} ${data.classes[found]}`, percent: ` (${own.percent[view][n]}%)` };
}

function caption(figure, title, text) {
  $("canvas", figure).setAttribute("aria-label", `${title}, ${text}`);
  $("figcaption", figure).replaceChildren(make("b", { textContent: title }), text);
}

// Show the first image that plain training classifies by the decoy, and XBL-D+ correctly.
async function example() {
  const names = [null, "erm", "xbl_d_plus"];
  for (const option of $$("#x-task option").reverse()) {
    const data = await load(option.value), [, erm, ours] = names.map((name) => data.methods[name]);
    const fooled = (label, k) => erm.classes[0][k] === data.codes[k] && data.codes[k] !== label
      && flips(erm, k) && !flips(ours, k) && ours.classes[0][k] === label;
    const n = erm && ours ? data.labels.findIndex(fooled) : -1;
    if (n < 0) continue;
    $$(".example figure").forEach((figure, k) => {
      draw($("canvas", figure), data, n, names[k], "hires_cam", 0.7);
      if (k) caption(figure, `${labels.methods[names[k]]}: ${predicted(data, names[k], 0, n).text}`, "attends to the bright cells");
      else caption(figure, `Label: ${data.classes[data.labels[n]]}`, `with the decoy of “${data.classes[data.codes[n]]}”`);
    });
    $(".example .note").textContent = `${option.textContent}: the first image in the explorer that ERM classifies by its decoy and XBL-D+ classifies correctly. Maps: HiResCAM.`;
    $(".example").hidden = false;
    return;
  }
}

function place(node, data, n) { // show image n of the sprites
  const rows = Math.ceil(data.labels.length / data.columns), share = (k, count) => `${100 * k / Math.max(1, count - 1)}%`;
  node.style.backgroundSize = `${data.columns * 100}% ${rows * 100}%`;
  node.style.backgroundPosition = `${share(n % data.columns, data.columns)} ${share(Math.floor(n / data.columns), rows)}`;
  return node;
}

const about = (data, n) => `${data.classes[data.labels[n]]}, decoy of ${data.classes[data.codes[n]]}`;

async function open() {
  const data = await load(field("task").value);
  for (const [name, first] of [["left", "erm"], ["right", "xbl_d_plus"]]) {
    const kept = field(name).value || first;
    field(name).replaceChildren(...data.names.map((key) => new Option(labels.methods[key], key, false, key === kept)));
  }
  for (const name of ["clean", "decoy", "swapped"]) $("#explorer").style.setProperty(`--${name}`, `url(${data[name]})`);
  const buttons = data.labels.map((_, n) => place(make("button", {
    type: "button", role: "radio", onclick: () => show(n), ariaLabel: `Image ${n + 1}: ${about(data, n)}`,
  }), data, n));
  $(".thumbs").replaceChildren(...buttons);
  rove(buttons, data.columns, show);
  show(Math.min(current, buttons.length - 1));
  field("none").hidden = true;
}

async function show(n) {
  current = n;
  const data = await load(field("task").value), pair = [field("left").value, field("right").value], explainer = field("cam").value;
  const [one, other] = pair.map((name) => data.methods[name]), buttons = $$(".thumbs button");
  buttons.forEach((button, k) => Object.assign(button, { ariaChecked: String(k === n), className: flips(one, k) ? "flips" : "" }));
  focusOn(buttons, n);
  field("who").textContent = labels.methods[pair[0]];
  $$(".pair figure").forEach((figure, k) => {
    const own = data.methods[pair[k]], zero = draw($("canvas", figure), data, n, pair[k], explainer, field("opacity").value / 100);
    caption(figure, labels.methods[pair[k]], `${own.weight ? `weight ${own.weight.toLocaleString("en")}, ` : ""}seed ${own.seed}, accuracy without decoy `
      + `${own.accuracy.toFixed(2)}${zero ? "; the map is all zero" : ""}`);
  });
  const row = (head, cells) => make("tr", {}, make("th", { scope: "row" }, ...head), ...cells.map((cell) => make("td", cell)));
  const views = ["with this decoy", "with another decoy", "without decoy"].map((text, view) => row(
    [place(make("span", { className: `view ${data.views[view]}` }), data, n), text],
    pair.map((name) => predicted(data, name, view, n)).map((is) => ({ textContent: is.text + is.percent, className: is.right ? "" : "wrong" })),
  ));
  const value = (own, name) => own.metrics[explainer][name][n];
  const metrics = Object.keys(one.metrics[explainer]).map((name) => row([labels.metrics[name]], [one, other].map((own) => (
    { textContent: value(own, name) === null ? "undefined" : (value(own, name) / 100).toFixed(2) }))));
  const heads = ["Prediction or metric", ...pair.map((name) => labels.methods[name])].map((textContent) => make("th", { scope: "col", textContent }));
  field("facts").replaceChildren(make("caption", { textContent: `Test image ${data.index[n] + 1}: ${about(data, n)}` }),
    make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...views, ...metrics));
}

if ($("#x-task option")) {
  field("task").onchange = open;
  for (const name of ["left", "right", "cam", "opacity"]) field(name).oninput = () => show(current);
  requestAnimationFrame(() => setTimeout(() => open().then(example))); // after the first paint
}
