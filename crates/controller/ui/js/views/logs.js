import { h, searchBox, select, write } from '../dom.js';
import { clock } from '../format.js';
import { t } from '../i18n.js';
import { stream } from '../link.js';
import { drawer } from '../overlay.js';
import { VirtualList } from '../virtual-list.js';

const LIMIT = 2000;
const LEVELS = ['debug', 'info', 'warning', 'error'];
const COLOURS = { warning: 'fair', error: 'bad', debug: 'quiet' };

/** What was read, and how; it outlives the view. */
const log = { lines: [], next: 0, level: 'info', query: '', paused: false };

export function mount(root, { api, link }) {
  root.classList.add('fills');
  let shown = [];
  let frame = 0;
  const list = new VirtualList({
    label: t('nav.logs'),
    make: makeRow,
    fill: (row, index) => fillRow(row, shown[index]),
    keyOf: (index) => shown[index].number,
    open: (index) => open(shown[index]),
    follow: true,
  });
  const pause = h('button', { type: 'button', 'data-pause': '' });
  const choices = LEVELS.map((level) => [level, level]);
  root.append(
    h(
      'div',
      { class: 'toolbar' },
      searchBox(t('logs.search'), log.query, (query) => {
        log.query = query;
        refresh();
      }),
      select(t('logs.level'), choices, log.level, (level) => {
        log.level = level;
        end();
        end = listen();
      }),
      pause,
      h('button', { type: 'button', class: 'push', onclick: clear }, t('logs.clear')),
    ),
    list.element,
  );
  pause.addEventListener('click', () => {
    log.paused = !log.paused;
    mark();
  });

  function mark() {
    write(pause, t(log.paused ? 'resume' : 'pause'));
    pause.setAttribute('aria-pressed', String(log.paused));
  }

  function clear() {
    log.lines = [];
    refresh();
  }

  function refresh() {
    frame = 0;
    const wanted = log.query.toLowerCase();
    shown = wanted ? log.lines.filter(({ text }) => text.toLowerCase().includes(wanted)) : log.lines.slice();
    list.update(shown.length);
  }

  function listen() {
    return stream(link, () => api.socketUrl('/logs', { level: log.level }), ({ type, payload }) => {
      if (log.paused) return;
      log.lines.push({ number: log.next++, time: Date.now(), level: type, text: String(payload) });
      if (log.lines.length > LIMIT) log.lines.splice(0, log.lines.length - LIMIT);
      // Many lines a second are drawn together.
      frame ||= requestAnimationFrame(refresh);
    });
  }

  let shutDrawer = () => {};
  function open(line) {
    shutDrawer = drawer(`${line.level}, ${clock(line.time)}`, h('p', { class: 'log mono' }, line.text));
  }

  let end = listen();
  mark();
  refresh();
  return () => {
    cancelAnimationFrame(frame);
    shutDrawer();
    end();
    list.destroy();
  };
}

function makeRow() {
  const row = h('div', { class: 'row logs' });
  row.cells = ['time quiet number', 'level', 'text mono'].map((kind) => h('span', { class: kind, role: 'gridcell' }));
  row.append(...row.cells);
  return row;
}

function fillRow({ cells: [time, level, text] }, line) {
  write(time, clock(line.time));
  write(level, line.level);
  level.className = `level ${COLOURS[line.level] ?? ''}`;
  write(text, line.text);
}
