// The picture: image, CAM, marks and brush on one canvas.

const LAYERS = {
  wrong: { colour: "#e69f00", label: "Wrong (W)", hint: "Mark what the model should not look at" },
  object: { colour: "#56b4e9", label: "Object (O)", hint: "Mark the object itself" },
};
const LONGEST_SIDE = 512; // of the picture on the screen, in CSS pixels

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

// A mask as it is shown: filled with its pattern, its exact border in its colour on black, so that
// it is seen on any image.
function tinted(mask, layer, width, height) {
  const small = element("canvas", { width: mask.width, height: mask.height });
  const inner = small.getContext("2d");
  inner.drawImage(mask, 0, 0);
  const pixels = inner.getImageData(0, 0, mask.width, mask.height);
  // The mask is grey and opaque: its brightness becomes the opacity.
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i];
  inner.putImageData(pixels, 0, 0);
  const sheet = element("canvas", { width, height });
  const pen = sheet.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, width, height);
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = pattern(pen, layer);
  pen.fillRect(0, 0, width, height);
  pen.globalCompositeOperation = "source-over";
  const on = (x, y) =>
    x >= 0 && y >= 0 && x < mask.width && y < mask.height && pixels.data[4 * (y * mask.width + x)] > 0;
  const [across, down] = [width / mask.width, height / mask.height];
  pen.beginPath();
  for (let y = 0; y <= mask.height; y++) {
    for (let x = 0; x <= mask.width; x++) {
      if (on(x, y) !== on(x - 1, y)) {
        pen.moveTo(x * across, y * down);
        pen.lineTo(x * across, (y + 1) * down);
      }
      if (on(x, y) !== on(x, y - 1)) {
        pen.moveTo(x * across, y * down);
        pen.lineTo((x + 1) * across, y * down);
      }
    }
  }
  pen.lineCap = "square";
  for (const [colour, thick] of [["#000000", 4], [LAYERS[layer].colour, 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.stroke();
  }
  return sheet;
}

function drawStroke(pen, drawn, scale) {
  pen.save();
  pen.strokeStyle = pen.fillStyle = drawn.tool === "brush" ? LAYERS[drawn.layer].colour : "#ffffff";
  pen.globalAlpha = 0.6;
  pen.lineWidth = 2 * drawn.radius * scale;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  if (drawn.points.every(([x, y]) => x === drawn.points[0][0] && y === drawn.points[0][1])) {
    const [x, y] = drawn.points[0]; // a line without length would not be drawn
    pen.arc(x * scale, y * scale, drawn.radius * scale, 0, 2 * Math.PI);
    pen.fill();
  } else {
    for (const [x, y] of drawn.points) pen.lineTo(x * scale, y * scale);
    pen.stroke();
  }
  pen.restore();
}

class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.image = this.cam = null;
    this.sheets = [];
  }

  // Take over what Python shows of one image of that width and height.
  async load(bytes, width, height) {
    const names = Object.keys(bytes);
    const found = await Promise.all(names.map((name) => bitmap(bytes[name])));
    const pictures = Object.fromEntries(names.map((name, n) => [name, found[n]]));
    return () => {
      let scale = LONGEST_SIDE / Math.max(width, height, 1);
      if (scale > 2) scale = Math.floor(scale); // the pixels of a tiny image all of one size
      const [wide, high] = [width * scale, height * scale].map((side) => Math.max(1, Math.round(side)));
      const dense = Math.min(3, Math.ceil(window.devicePixelRatio || 1));
      this.canvas.width = wide * dense;
      this.canvas.height = high * dense;
      this.canvas.style.width = `min(100%, ${wide}px, calc(70vh * ${wide / high}))`;
      this.scale = this.canvas.width / width;
      this.image = pictures.image;
      this.cam = pictures.cam;
      this.sheets = Object.keys(LAYERS)
        .filter((layer) => pictures[layer])
        .map((layer) => tinted(pictures[layer], layer, this.canvas.width, this.canvas.height));
    };
  }

  paint({ opacity, strokes, cursor, radius }) {
    const { canvas, scale } = this;
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (const [picture, alpha] of [[this.image, 1], [this.cam, opacity]]) {
      if (!picture) continue;
      pen.globalAlpha = alpha;
      pen.imageSmoothingEnabled = picture.width > canvas.width; // magnified pixels stay crisp
      pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    }
    pen.globalAlpha = 1;
    for (const sheet of this.sheets) pen.drawImage(sheet, 0, 0);
    for (const drawn of strokes) drawStroke(pen, drawn, scale);
    if (!cursor) return;
    for (const [colour, width] of [["#000000", 4], ["#ffffff", 2]]) { // a ring seen on any ground
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.arc(cursor[0] * scale, cursor[1] * scale, radius * scale, 0, 2 * Math.PI);
      pen.stroke();
    }
  }
}
