// What goes to Python and has not been answered: a stroke is kept, also over a reload of the page or
// a new kernel, until Python says that it is on the disk.

const PATIENCE = 5000; // milliseconds until an unanswered message is told

class Post {
  // `changed` is called when something was sent, answered or given up waiting for.
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.name = Math.random().toString(36).slice(2); // several views of a widget share its answers
    this.serial = 0;
    this.waiting = new Map(); // number to { message, timer }
    this.trouble = "";
  }

  get key() {
    return `xbl-annotator-${this.model.get("facts").store}`;
  }

  // Strokes of an image that are drawn but not yet part of its mask.
  strokes(image) {
    return [...this.waiting.values()]
      .map(({ message }) => message)
      .filter((message) => message.do === "stroke" && message.image === image);
  }

  send(message) {
    const number = `${this.name}-${++this.serial}`;
    const timer = setTimeout(() => this.tell("Python does not answer"), PATIENCE);
    this.waiting.set(number, { message, timer });
    this.keep();
    try {
      this.model.send({ ...message, number });
    } catch {
      clearTimeout(timer); // the kernel that this widget belonged to is gone
      if (message.do !== "stroke") this.waiting.delete(number);
      this.tell("The kernel has stopped or was restarted");
      return;
    }
    this.changed();
  }

  tell(why) {
    const count = [...this.waiting.values()].filter(({ message }) => message.do === "stroke").length;
    const strokes = count === 1 ? "1 stroke is" : `${count} strokes are`;
    this.trouble =
      `${why}. ${count ? `${strokes} kept in this window and saved as soon as it can be. ` : ""}` +
      "If the kernel is busy, wait; if it has stopped, run this cell again.";
    this.changed();
  }

  // Returns the message that was answered, if it was one of this view.
  answered(number) {
    const found = this.waiting.get(number);
    if (!found) return null;
    clearTimeout(found.timer);
    this.waiting.delete(number);
    if (!this.waiting.size) this.trouble = "";
    this.keep();
    return found.message;
  }

  keep() {
    const strokes = [...this.waiting.values()]
      .map(({ message }) => message)
      .filter((message) => message.do === "stroke");
    try {
      if (strokes.length) sessionStorage.setItem(this.key, JSON.stringify(strokes));
      else sessionStorage.removeItem(this.key);
    } catch {
      // No such storage here, or it is full: the strokes still wait in this view.
    }
  }

  // Send again what an earlier view of the same annotations never had an answer to. Python draws a
  // stroke twice without harm: the mask is the same.
  resume() {
    let strokes = [];
    try {
      strokes = JSON.parse(sessionStorage.getItem(this.key) || "[]");
    } catch {
      return; // no such storage, or not ours: nothing that could be sent
    }
    for (const message of strokes) this.send(message);
  }

  stop() {
    for (const { timer } of this.waiting.values()) clearTimeout(timer);
  }
}
