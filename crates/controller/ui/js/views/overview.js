import { h, write } from '../dom.js';
import { bytes, count, rate } from '../format.js';
import { draw, Series } from '../graph.js';
import { t } from '../i18n.js';
import { repeat, stream } from '../link.js';
import { modeSwitch } from '../mode.js';
import { failed } from '../overlay.js';

/** Two minutes. It outlives the view, so that the graph is not empty after a look at another page. */
const series = new Series(120);

export function mount(root, { api, link, feed }) {
  const figures = {};
  const figure = (key, colour) => {
    figures[key] = h('dd', { class: colour }, '–');
    return h('div', { class: 'card figure' }, h('dt', {}, t(`overview.${key}`)), figures[key]);
  };
  const canvas = h('canvas', { class: 'graph', role: 'img', 'aria-label': t('overview.graph') });
  const mode = modeSwitch(api);
  root.append(
    h(
      'div',
      { class: 'stack' },
      h('div', { class: 'toolbar' }, h('span', { class: 'quiet' }, t('mode')), mode),
      h('dl', { class: 'figures' }, figure('down', 'down'), figure('up', 'up'), figure('connections'), figure('memory')),
      h('section', { class: 'card' }, h('h2', {}, t('overview.traffic')), canvas),
      h('dl', { class: 'figures' }, figure('downTotal'), figure('upTotal'), figure('version')),
    ),
  );

  const traffic = ({ up, down, upTotal, downTotal }) => {
    series.push(down, up);
    write(figures.down, rate(down));
    write(figures.up, rate(up));
    if (upTotal !== undefined) write(figures.upTotal, bytes(upTotal));
    if (downTotal !== undefined) write(figures.downTotal, bytes(downTotal));
    draw(canvas, series);
  };
  const numbers = () => write(figures.connections, count(feed.live));
  const redraw = new ResizeObserver(() => draw(canvas, series));
  redraw.observe(canvas);
  feed.addEventListener('frame', numbers);
  const ends = [
    stream(link, () => api.socketUrl('/traffic'), traffic),
    // The first message is always zero.
    stream(link, () => api.socketUrl('/memory'), ({ inuse }) => inuse > 0 && write(figures.memory, bytes(inuse))),
    feed.watch(2000, null),
    repeat(
      link,
      10_000,
      async () => {
        mode.show((await api.get('/configs')).mode);
        write(figures.version, link.version);
      },
      failed,
    ),
  ];
  return () => {
    redraw.disconnect();
    feed.removeEventListener('frame', numbers);
    for (const end of ends) end();
  };
}
