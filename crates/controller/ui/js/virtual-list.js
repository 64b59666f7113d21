// A list of any length with a constant number of elements: row i lives in element i modulo their number, so scrolling by
// one row fills one element.

import { h } from './dom.js';

/** The rows to draw, `first` up to but without `last`. */
export function windowOf({ scrollTop, height, rowHeight, count, overscan }) {
  const top = Math.max(0, Math.floor(scrollTop / rowHeight) - overscan);
  const bottom = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + overscan);
  // A list that became shorter than it was scrolled.
  const first = Math.min(top, Math.max(0, count - 1));
  return { first, last: Math.max(first, bottom) };
}

/** Where to scroll so that row `index` is seen whole: as little as possible. */
export function scrollFor({ index, scrollTop, height, rowHeight }) {
  const top = index * rowHeight;
  if (top < scrollTop) return top;
  return Math.max(scrollTop, top + rowHeight - height);
}

const OVERSCAN = 6;

export class VirtualList {
  #pool = [];
  #shown = [];
  #count = 0;
  #active = -1;
  #frame = 0;
  #first = 0;
  #last = 0;
  #activeKey = null;
  #atEnd = true;

  /**
   * `make()` → an empty row; `fill(row, index)` writes into it; `keyOf(index)` names what is there, so that the active
   * row stays the same thing when the order changes; `open(index)` for Enter and clicks, `remove(index)` for Delete.
   * With `follow` a reader at the end stays there when rows are added.
   */
  constructor({ label, make, fill, keyOf = (index) => index, open = () => {}, remove = () => {}, follow = false }) {
    Object.assign(this, { make, fill, keyOf, open, remove, follow });
    this.rows = h('div', { class: 'rows', role: 'presentation' });
    this.element = h('div', { class: 'list', role: 'grid', tabindex: '0', 'aria-label': label, 'aria-rowcount': '0' }, this.rows);
    this.element.addEventListener('scroll', () => this.#later(), { passive: true });
    this.element.addEventListener('keydown', (event) => this.#key(event));
    this.element.addEventListener('click', (event) => {
      const row = event.target.closest('.row');
      if (!row || event.target.closest('button')) return;
      this.#activate(row.index);
      this.open(row.index);
    });
    this.observer = new ResizeObserver(() => this.#measure());
    this.observer.observe(this.element);
  }

  /** The data changed: everything that is seen is written anew (and untouched texts stay untouched). */
  update(count) {
    if (count !== this.#count) {
      this.#count = count;
      this.element.setAttribute('aria-rowcount', count);
      this.#stretch();
    }
    this.#draw(true);
  }

  toStart() {
    this.element.scrollTop = 0;
    this.#draw(false);
  }

  destroy() {
    cancelAnimationFrame(this.#frame);
    this.observer.disconnect();
  }

  get #usable() {
    return this.height > 0 && this.rowHeight > 0;
  }

  /** Sizes are read here and nowhere else: reading them while scrolling would force a layout each time. */
  #measure() {
    this.height = this.element.clientHeight;
    // For a line of titles above the list, whose columns have to stay above these.
    this.element.parentElement?.style.setProperty('--scrollbar', `${this.element.offsetWidth - this.element.clientWidth - 2}px`);
    const probe = this.#pool[0] ?? this.#grow();
    this.rowHeight = Number.parseFloat(getComputedStyle(probe).height);
    if (!this.#usable) return;
    const wanted = Math.ceil(this.height / this.rowHeight) + 2 * OVERSCAN + 1;
    while (this.#pool.length < wanted) this.#grow();
    // Rows move to other elements when the number of elements changes.
    this.#shown = this.#pool.map(() => -1);
    this.#stretch();
    this.#draw(true);
  }

  #grow() {
    const row = this.make();
    row.hidden = true;
    row.id = `row-${this.#pool.length}`;
    row.setAttribute('role', 'row');
    this.#pool.push(row);
    this.#shown.push(-1);
    this.rows.append(row);
    return row;
  }

  #stretch() {
    if (!this.#usable) return;
    this.rows.style.height = `${this.#count * this.rowHeight}px`;
    if (this.follow && this.#atEnd) this.element.scrollTop = this.#count * this.rowHeight;
  }

  #later() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw(false);
    });
  }

  #draw(everything) {
    if (!this.#usable) return;
    const scrollTop = this.element.scrollTop;
    this.#atEnd = scrollTop + this.height >= (this.#count - 1) * this.rowHeight;
    const { first, last } = windowOf({
      scrollTop,
      height: this.height,
      rowHeight: this.rowHeight,
      count: this.#count,
      overscan: OVERSCAN,
    });
    if (!everything && first === this.#first && last === this.#last) return;
    this.#first = first;
    this.#last = last;
    const size = this.#pool.length;
    if (last - first < size) {
      this.#pool.forEach((row, slot) => {
        const index = this.#shown[slot];
        if (index >= 0 && (index < first || index >= last)) {
          this.#shown[slot] = -1;
          row.hidden = true;
        }
      });
    }
    for (let index = first; index < last; index += 1) {
      const slot = index % size;
      const row = this.#pool[slot];
      const moved = this.#shown[slot] !== index;
      if (moved) {
        if (this.#shown[slot] < 0) row.hidden = false;
        this.#shown[slot] = index;
        row.index = index;
        row.style.transform = `translateY(${index * this.rowHeight}px)`;
        row.setAttribute('aria-rowindex', index + 1);
      }
      if (moved || everything) {
        this.fill(row, index);
        row.classList.toggle('active', this.#active >= 0 && this.keyOf(index) === this.#activeKey);
      }
    }
  }

  #activate(index) {
    this.#active = index;
    this.#activeKey = this.keyOf(index);
    this.#draw(true);
    const row = this.#pool[index % this.#pool.length];
    if (row) this.element.setAttribute('aria-activedescendant', row.id);
  }

  /** Where the active row went; the order may have changed since. */
  #current() {
    if (this.#active < 0) return -1;
    if (this.#active < this.#count && this.keyOf(this.#active) === this.#activeKey) return this.#active;
    for (let index = 0; index < this.#count; index += 1) if (this.keyOf(index) === this.#activeKey) return index;
    return Math.min(this.#active, this.#count - 1);
  }

  #key(event) {
    if (event.target !== this.element || this.#count === 0 || !this.#usable) return;
    const page = Math.max(1, Math.floor(this.height / this.rowHeight) - 1);
    const at = this.#current();
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = moves[event.key];
    if (step !== undefined) {
      const to = Math.min(this.#count - 1, Math.max(0, at + step));
      this.element.scrollTop = scrollFor({ index: to, scrollTop: this.element.scrollTop, height: this.height, rowHeight: this.rowHeight });
      this.#activate(to);
    } else if (at >= 0 && event.key === 'Enter') {
      this.open(at);
    } else if (at >= 0 && event.key === 'Delete') {
      this.remove(at);
    } else {
      return;
    }
    event.preventDefault();
  }
}
