// A row of the connections list, and all there is to know about one of them.

import { h, icon, write } from '../dom.js';
import { bytes, duration, moment, rate } from '../format.js';
import { t } from '../i18n.js';

/** Column → its class. `wide` ones go first when the window is narrow, then `client`. */
export const CELLS = {
  host: 'host',
  path: 'path',
  downSpeed: 'end number down',
  upSpeed: 'end number up',
  download: 'end number wide',
  upload: 'end number wide',
  start: 'end number',
  source: 'client',
  kind: 'wide',
};

export function makeRow(shut) {
  const row = h('div', { class: 'row connections' });
  row.cells = {};
  for (const [name, kind] of Object.entries(CELLS)) {
    row.cells[name] = h('span', { class: kind, role: 'gridcell' });
    row.append(row.cells[name]);
  }
  // Where there is little room a path is cut at its beginning (style.css), and still reads from left to right.
  const path = h('bdi', { dir: 'ltr' });
  row.cells.path.append(path);
  row.cells.path = path;
  row.cells.speed = h('span', { class: 'speed number phone' });
  const button = h('button', { type: 'button', class: 'shut', tabindex: '-1', title: t('connections.close'), 'aria-label': t('connections.close') }, icon('close'));
  button.addEventListener('click', () => shut(row.index));
  row.shut = button;
  row.append(row.cells.speed, h('span', { class: 'end', role: 'gridcell' }, button));
  return row;
}

/** `counters` from `at` on: downloaded, uploaded, and both per second. */
export function fillRow({ cells, shut }, row, counters, at, closed) {
  write(cells.host, row.host);
  write(cells.path, row.path);
  const down = counters[at + 2];
  const up = counters[at + 3];
  write(cells.downSpeed, down >= 1 ? rate(down) : '');
  write(cells.upSpeed, up >= 1 ? rate(up) : '');
  write(cells.download, bytes(counters[at]));
  write(cells.upload, bytes(counters[at + 1]));
  write(cells.start, duration(Date.now() - row.start));
  write(cells.source, row.source);
  write(cells.kind, row.kind);
  write(cells.speed, down >= 1 || up >= 1 ? `↓ ${rate(down)}  ↑ ${rate(up)}` : `↓ ${bytes(counters[at])}  ↑ ${bytes(counters[at + 1])}`);
  if (shut.hidden !== closed) shut.hidden = closed;
}

/** Everything the controller says, the important first, under its own names: they are what rules are written with. */
export function details({ raw, closedAt }, path) {
  const facts = [
    [t('connections.path'), path],
    [t('connections.download'), bytes(raw.download)],
    [t('connections.upload'), bytes(raw.upload)],
    [t('connections.started'), moment(Date.parse(raw.start))],
  ];
  if (closedAt) facts.push([t('connections.ended'), moment(closedAt)]);
  facts.push(['id', raw.id], ['rule', raw.rule], ['rulePayload', raw.rulePayload]);
  const more = { ...raw.metadata, providerChains: raw.providerChains };
  for (const [key, value] of Object.entries(more)) facts.push([key, Array.isArray(value) ? value.filter(Boolean).join(', ') : value]);
  return facts.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([key, value]) => [key, String(value)]);
}
