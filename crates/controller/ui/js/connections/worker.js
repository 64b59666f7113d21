// Reads `/connections` away from the page: a snapshot of 10,000 connections is megabytes of JSON, and parsing it where
// the page scrolls would stop the scrolling. The page gets new rows once, and per snapshot two typed arrays.
//
// In:  { type: 'open', url } | { type: 'shut' } | { type: 'view', view } | { type: 'detail', key }
// Out: { type: 'frame', … } | { type: 'detail', key, raw, closedAt } | { type: 'lost' }

import { ConnectionBook } from './book.js';

const book = new ConnectionBook();
let socket = null;
/** null: only numbers are wanted. Otherwise { tab, query, column, descending, paused }. */
let view = null;
let detail = null;
let totals = { up: 0, down: 0 };

onmessage = ({ data }) => {
  if (data.type === 'open') open(data.url);
  else if (data.type === 'shut') shut();
  else if (data.type === 'detail') tell((detail = data.key));
  else look(data.view);
};

function open(url) {
  shut();
  socket = new WebSocket(url);
  socket.onmessage = (event) => take(event.data);
  socket.onclose = () => {
    socket = null;
    book.pause();
    postMessage({ type: 'lost' });
  };
}

function shut() {
  if (!socket) return;
  socket.onclose = socket.onmessage = null;
  socket.close();
  socket = null;
  book.pause();
}

function take(text) {
  if (view?.paused) return book.pause();
  const begun = performance.now();
  const snapshot = JSON.parse(text);
  totals = { up: snapshot.uploadTotal, down: snapshot.downloadTotal };
  const { added, dropped } = book.apply(snapshot, Date.now());
  send(added, dropped, begun);
  if (detail !== null) tell(detail);
}

/** A reader that had only numbers knows no rows yet. */
function look(wanted) {
  const fresh = view === null && wanted !== null;
  view = wanted;
  if (view) send(fresh ? book.all() : [], [], performance.now(), fresh);
}

function send(added, dropped, begun, fresh = false) {
  const frame = { type: 'frame', live: book.liveCount, closed: book.closedCount, totals };
  const moved = [];
  if (view) {
    const rows = book.select(view);
    const order = new Uint32Array(rows.length);
    const counters = new Float64Array(rows.length * 4);
    rows.forEach((row, index) => {
      order[index] = row.key;
      counters.set([row.download, row.upload, row.downSpeed, row.upSpeed], index * 4);
    });
    frame.added = added.map(({ key, id, host, path, source, kind, start }) => ({ key, id, host, path, source, kind, start }));
    Object.assign(frame, { fresh, dropped, order, counters, tab: view.tab });
    moved.push(order.buffer, counters.buffer);
  }
  frame.cost = performance.now() - begun;
  postMessage(frame, moved);
}

function tell(key) {
  const row = key === null ? undefined : book.find(key);
  if (row) postMessage({ type: 'detail', key, raw: row.raw, closedAt: row.closedAt });
}
