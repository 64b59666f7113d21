// The page's end of the worker: what it knows of the connections, for whoever shows them.

/** Milliseconds between snapshots: slower when a snapshot keeps this machine busy for more than a third of that. */
export function paceFor(cost, wanted) {
  return Math.min(5000, Math.max(wanted, Math.ceil((cost * 3) / 500) * 500));
}

/** Events: 'frame' for a new state, 'detail' with the connection that was asked for. */
export class ConnectionFeed extends EventTarget {
  rows = new Map();
  order = new Uint32Array();
  counters = new Float64Array();
  tab = 'active';
  live = 0;
  closed = 0;
  totals = { up: 0, down: 0 };
  #worker = null;
  #wanted = 0;
  #pace = 0;
  #open = false;

  constructor(link, api) {
    super();
    this.link = link;
    this.api = api;
    const look = () => this.#look();
    link.addEventListener('change', look);
    link.addEventListener('back', look);
    document.addEventListener('visibilitychange', look);
  }

  /** Somebody looks: every `interval` ms, rows as `view` says or only numbers (null). Returns what ends it. */
  watch(interval, view) {
    this.#wanted = this.#pace = interval;
    this.#open = false;
    this.show(view);
    this.#look();
    return () => {
      this.#wanted = 0;
      this.show(null);
      this.#look();
    };
  }

  show(view) {
    if (view === null) {
      this.rows.clear();
      this.order = new Uint32Array();
      this.counters = new Float64Array();
    }
    this.#post({ type: 'view', view });
  }

  /** The whole of one connection, again with each snapshot; null for nobody's. */
  detail(key) {
    this.#post({ type: 'detail', key });
  }

  #post(message) {
    if (!this.#worker) {
      this.#worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
      this.#worker.onmessage = ({ data }) => this.#take(data);
    }
    this.#worker.postMessage(message);
  }

  #look() {
    const open = this.#wanted > 0 && this.link.online && !document.hidden;
    if (open === this.#open) return;
    this.#open = open;
    if (open) this.#connect();
    else this.#post({ type: 'shut' });
  }

  #connect() {
    this.#post({ type: 'open', url: this.api.socketUrl('/connections', { interval: this.#pace }) });
  }

  #take(message) {
    if (message.type === 'lost') {
      this.#open = false;
      // The link finds out what happened and says when it is back.
      if (this.#wanted > 0) setTimeout(() => this.link.probe(), 200);
    } else if (message.type === 'detail') {
      this.dispatchEvent(new CustomEvent('detail', { detail: message }));
    } else {
      this.#frame(message);
    }
  }

  #frame(frame) {
    this.live = frame.live;
    this.closed = frame.closed;
    this.totals = frame.totals;
    // A frame without rows may still be on its way when somebody begins to look, and the other way round.
    if (frame.order) {
      if (frame.fresh) this.rows.clear();
      for (const row of frame.added) this.rows.set(row.key, row);
      for (const key of frame.dropped) this.rows.delete(key);
      this.order = frame.order;
      this.counters = frame.counters;
      this.tab = frame.tab;
    }
    const pace = paceFor(frame.cost, this.#wanted);
    if (this.#open && pace > this.#pace) {
      this.#pace = pace;
      this.#connect();
    }
    this.dispatchEvent(new Event('frame'));
  }
}
