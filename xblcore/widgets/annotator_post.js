// What goes to Python and has not been answered: a stroke is kept, also over a reload of the page or
// a new kernel, until Python says that it is on the disk, or that it can never be.

const PATIENCE = 5000; // milliseconds until an unanswered message is told, or a refused one sent again
const KEPT = "xbl-annotator-";
// Views that are alive in this window, of whatever widget: what they wait for is theirs alone.
const alive = (globalThis.xblAnnotatorViews ??= new Set());

class Post {
  // `changed` is called when something was sent, answered or given up waiting for.
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.name = Math.random().toString(36).slice(2); // several views of a widget share its answers
    this.serial = 0;
    this.waiting = new Map(); // number to { message, timer, held }; held: not to be sent before others
    this.refused = null; // timer of the next try, once a stroke could not be written
    this.trouble = "";
    this.told = []; // what it was made of
    alive.add(this.name);
  }

  get key() {
    return `${KEPT}${this.model.get("facts").store}-${this.name}`;
  }

  // Strokes that are drawn but not yet on the disk, in the order in which they were drawn.
  unsaved() {
    return [...this.waiting.values()]
      .map(({ message }) => message)
      .filter((message) => message.do === "stroke");
  }

  // Those of an image.
  strokes(image) {
    return this.unsaved().filter((message) => message.image === image);
  }

  send(message) {
    const number = `${this.name}-${++this.serial}`;
    const held = message.do === "stroke" && this.refused !== null; // or it would overtake
    this.waiting.set(number, { message, timer: null, held });
    this.keep();
    if (held) this.tell(...this.told);
    else this.post(number);
  }

  post(number) {
    const entry = this.waiting.get(number);
    entry.timer = setTimeout(() => this.tell("Python does not answer"), PATIENCE);
    try {
      this.model.send({ ...entry.message, number });
    } catch {
      clearTimeout(entry.timer); // the kernel that this widget belonged to is gone
      if (entry.message.do !== "stroke") this.waiting.delete(number);
      this.tell("The kernel has stopped or was restarted");
      return;
    }
    this.changed();
  }

  tell(why, remedy = "If the kernel is busy, wait; if it has stopped, run this cell again.") {
    this.told = [why, remedy];
    const count = this.unsaved().length;
    const strokes = count === 1 ? "1 stroke is" : `${count} strokes are`;
    this.trouble =
      `${why}. ${count ? `${strokes} kept in this window and saved as soon as it can be. ` : ""}` +
      remedy;
    this.changed();
  }

  // Returns the message that was done with, if it was one of this view.
  answered({ number, done, again, status }) {
    const found = this.waiting.get(number);
    if (!found) return null;
    clearTimeout(found.timer);
    if (!done && again && found.message.do === "stroke") {
      found.held = true; // a full disk say: the stroke waits for its turn
      clearTimeout(this.refused);
      this.refused = setTimeout(() => this.next(), PATIENCE);
      this.tell(status, `Tried again every ${PATIENCE / 1000} seconds.`);
      return null;
    }
    this.waiting.delete(number);
    this.keep();
    if (this.refused !== null && found.message.do === "stroke") this.next();
    if (!this.waiting.size) this.trouble = "";
    return found.message;
  }

  // Send the first of the strokes that wait for their turn, if there is one.
  next() {
    clearTimeout(this.refused);
    const first = [...this.waiting].find(([, { held }]) => held);
    if (!first) {
      this.refused = null;
      return;
    }
    first[1].held = false;
    this.post(first[0]);
  }

  keep() {
    const strokes = this.unsaved();
    try {
      if (strokes.length) sessionStorage.setItem(this.key, JSON.stringify(strokes));
      else sessionStorage.removeItem(this.key);
    } catch {
      // No such storage here, or it is full: the strokes still wait in this view.
    }
  }

  // Send again what views of the same annotations that are gone never had an answer to. Python draws
  // a stroke twice without harm: the mask is the same.
  resume() {
    let strokes = [];
    try {
      const own = this.key.slice(0, -this.name.length);
      for (const key of Object.keys(sessionStorage)) {
        if (!key.startsWith(own) || alive.has(key.slice(own.length))) continue;
        strokes = strokes.concat(JSON.parse(sessionStorage.getItem(key)));
        sessionStorage.removeItem(key);
      }
    } catch {
      // No such storage, or not ours: nothing more that could be sent.
    }
    for (const message of strokes) this.send(message);
  }

  stop() {
    alive.delete(this.name);
    clearTimeout(this.refused);
    for (const { timer } of this.waiting.values()) clearTimeout(timer);
  }
}
