// Is the controller there? One place asks, with a back-off; streams and views follow what it says.

import { ApiError } from './api.js';

/** Milliseconds to wait before try number `attempt` (0, 1, …): half a second, doubling up to ten, a fifth either way. */
export function backoff(attempt, random = Math.random()) {
  const wait = Math.min(10_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(wait * (0.8 + 0.4 * random));
}

/**
 * State: 'connecting', 'online', 'offline' or 'locked' (the secret is missing or wrong).
 * Events: 'change' for another state, 'back' whenever it is online again, so that views load anew.
 */
export class Link extends EventTarget {
  state = 'connecting';
  version = '';
  #attempt = 0;
  #timer = 0;
  #probing = false;

  constructor(api) {
    super();
    this.api = api;
  }

  get online() {
    return this.state === 'online';
  }

  /** Asks now; whoever lost a stream calls it. */
  async probe() {
    if (this.#probing) return;
    this.#probing = true;
    clearTimeout(this.#timer);
    try {
      const answer = await this.api.get('/version');
      this.version = String(answer?.version ?? '');
      this.#attempt = 0;
      this.#enter('online');
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.#enter('locked');
      } else {
        this.#enter('offline');
        this.#timer = setTimeout(() => this.probe(), backoff(this.#attempt++));
      }
    } finally {
      this.#probing = false;
    }
  }

  /** With another secret. A second wrong one is an event again. */
  restart() {
    this.#enter('connecting');
    return this.probe();
  }

  #enter(state) {
    const changed = state !== this.state;
    this.state = state;
    if (changed) this.dispatchEvent(new Event('change'));
    if (state === 'online') this.dispatchEvent(new Event('back'));
  }
}

/**
 * Keeps a WebSocket open while the link is online and the page is visible: a hidden tab costs the daemon nothing.
 * `address` is called for each attempt. Returns a function that ends it.
 */
export function stream(link, address, receive) {
  let socket = null;
  let attempt = 0;
  let timer = 0;
  const shut = () => {
    clearTimeout(timer);
    if (!socket) return;
    socket.onclose = socket.onmessage = null;
    socket.close();
    socket = null;
  };
  const open = () => {
    if (socket || document.hidden || !link.online) return;
    socket = new WebSocket(address());
    socket.onmessage = (event) => {
      attempt = 0;
      receive(JSON.parse(event.data));
    };
    socket.onclose = () => {
      socket = null;
      clearTimeout(timer);
      // The link finds out whether the daemon left or only refuses this stream.
      timer = setTimeout(() => link.probe(), attempt === 0 ? 0 : backoff(attempt));
      attempt += 1;
    };
  };
  const look = () => (document.hidden || !link.online ? shut() : open());
  link.addEventListener('change', look);
  link.addEventListener('back', look);
  document.addEventListener('visibilitychange', look);
  open();
  return () => {
    shut();
    link.removeEventListener('change', look);
    link.removeEventListener('back', look);
    document.removeEventListener('visibilitychange', look);
  };
}

/**
 * Calls `task` now, every `period` ms while somebody looks, and when the daemon is back. One at a time. An error of the
 * connection is the link's business; what the controller refuses goes to `failed`.
 */
export function repeat(link, period, task, failed) {
  let busy = false;
  let ended = false;
  const run = async () => {
    if (busy || ended || document.hidden || !link.online) return;
    busy = true;
    try {
      await task();
    } catch (error) {
      if (ended) return;
      if (error instanceof ApiError && error.status !== 401) failed(error);
      else link.probe();
    } finally {
      busy = false;
    }
  };
  const timer = period ? setInterval(run, period) : 0;
  link.addEventListener('back', run);
  document.addEventListener('visibilitychange', run);
  run();
  return () => {
    ended = true;
    clearInterval(timer);
    link.removeEventListener('back', run);
    document.removeEventListener('visibilitychange', run);
  };
}
