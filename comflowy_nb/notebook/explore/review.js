// The controls for the user's review of the current image: rating, rejection, note, mark.

export class Review {
  constructor(explorer) {
    this.explorer = explorer;
    this.state = explorer.state;
  }

  rate(rating) {
    this.change({ rating, rejected: false }, rating > 0);
  }

  reject() {
    const { image } = this.state.current;
    this.change({ rejected: !image?.rejected }, !image?.rejected);
  }

  setNote(note) {
    const { image } = this.state.current;
    if (image && note !== image.note) this.change({ note }, false);
  }

  change(changes, movesOn) {
    const entry = this.state.current;
    if (!entry.image) {
      this.explorer.say("This cell has no image to rate");
      return;
    }
    this.explorer.ratings.rate(entry.image, changes, { place: entry.place });
    const { moveOn, mode } = this.state.view;
    const next = movesOn && moveOn ? this.state.nextUnrated(entry, { isGrid: mode === "grid" }) : null;
    const words = changes.rejected
      ? "rejected"
      : changes.rating
        ? `${changes.rating} of 5`
        : "note" in changes
          ? "note kept"
          : "not rated";
    const all = movesOn && moveOn && !next ? ". All images are rated" : "";
    this.explorer.say(`${entry.image.ref} ${words}${all}`);
    if (next) this.explorer.go(next.place);
  }

  undo() {
    const place = this.explorer.ratings.undo();
    if (place) this.explorer.go(place);
    this.explorer.say(place ? "The last rating is undone" : "There is no rating to undo");
  }

  isMarked(image) {
    return Boolean(image) && this.state.selected.includes(image.ref);
  }

  mark() {
    const { image } = this.state.current;
    if (!image) return;
    const { selected } = this.state;
    const isMarked = selected.includes(image.ref);
    this.explorer.set("selected", isMarked ? selected.filter((ref) => ref !== image.ref) : [...selected, image.ref]);
    this.explorer.say(`${image.ref} ${isMarked ? "not marked" : "marked"}`);
  }
}
