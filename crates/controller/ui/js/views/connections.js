import { path } from '../api.js';
import { COLUMNS, hostOf, pathOf } from '../connections/book.js';
import { CELLS, details, fillRow, makeRow } from '../connections/table.js';
import { h, searchBox, segments, select, write } from '../dom.js';
import { count } from '../format.js';
import { t } from '../i18n.js';
import { busily, confirm, drawer, failed } from '../overlay.js';
import { VirtualList } from '../virtual-list.js';

/** How the list is looked at; it outlives the view. */
const view = { tab: 'active', query: '', column: 'start', descending: false, paused: false };

/** So many are closed at once when there are many: each is a request. */
const TOGETHER = 16;

export function mount(root, { api, feed }) {
  root.classList.add('fills');
  const keyOf = (index) => feed.order[index];
  const rowOf = (index) => feed.rows.get(keyOf(index));
  const list = new VirtualList({
    label: t('nav.connections'),
    make: () => makeRow(closeOne),
    fill: (row, index) => {
      const known = rowOf(index);
      if (known) fillRow(row, known, feed.counters, index * 4, feed.tab === 'closed');
    },
    keyOf,
    open: (index) => openDrawer(rowOf(index)),
    remove: (index) => feed.tab === 'active' && closeOne(index),
  });

  const show = (changes) => {
    Object.assign(view, changes);
    feed.show({ ...view });
    tabs.mark(view.tab);
    mark();
  };
  const tabs = segments(t('connections.which'), [['active', ''], ['closed', '']], view.tab, (tab) => {
    list.toStart();
    show({ tab });
  });
  const pause = h('button', { type: 'button', 'data-pause': '', onclick: () => show({ paused: !view.paused }) });
  const shutAll = h('button', { type: 'button', class: 'danger', onclick: () => busily(shutAll, closeShown) }, '');
  const sortChoices = COLUMNS.map((column) => [column, t(`connections.${column}`)]);
  const sorts = select(t('sort'), sortChoices, view.column, (column) => sortBy(column));
  const turn = h('button', { type: 'button', class: 'square', 'aria-label': t('sort.turn'), onclick: () => show({ descending: !view.descending }) });
  const heads = Object.entries(CELLS).map(([column, kind]) => {
    const button = h('button', { type: 'button', onclick: () => sortBy(column) }, t(`connections.${column}`));
    return h('span', { class: kind.replace('down', '').replace('up', ''), role: 'columnheader', 'data-column': column }, button);
  });
  const empty = h('p', { class: 'empty', hidden: true });
  root.append(
    h(
      'div',
      { class: 'toolbar' },
      searchBox(t('connections.search'), view.query, (query) => show({ query })),
      tabs,
      pause,
      h('span', { class: 'phone toolbar' }, sorts, turn),
      h('span', { class: 'push' }, shutAll),
    ),
    h('div', { class: 'columns connections', role: 'row' }, heads),
    empty,
    list.element,
  );

  function sortBy(column) {
    // Numbers are looked at from the large end, except an age: who sorts by it wants the latest.
    const large = ['downSpeed', 'upSpeed', 'download', 'upload'].includes(column);
    show({ column, descending: view.column === column ? !view.descending : large });
    list.toStart();
  }

  function mark() {
    for (const head of heads) {
      const sorted = head.dataset.column === view.column;
      head.setAttribute('aria-sort', !sorted ? 'none' : view.descending ? 'descending' : 'ascending');
      write(head.firstChild, t(`connections.${head.dataset.column}`) + (!sorted ? '' : view.descending ? ' ↓' : ' ↑'));
    }
    sorts.value = view.column;
    write(turn, view.descending ? '↓' : '↑');
    write(pause, t(view.paused ? 'resume' : 'pause'));
    pause.setAttribute('aria-pressed', String(view.paused));
  }

  function refresh() {
    list.update(feed.order.length);
    write(tabs.children[0], t('connections.active', { count: count(feed.live) }));
    write(tabs.children[1], t('connections.closed', { count: count(feed.closed) }));
    write(shutAll, t(view.query ? 'connections.closeShown' : 'connections.closeAll', { count: count(feed.order.length) }));
    shutAll.hidden = feed.tab !== 'active' || feed.order.length === 0;
    write(empty, t(view.query ? 'nothing.found' : 'connections.none'));
    empty.hidden = feed.order.length > 0;
    list.element.classList.toggle('vacant', feed.order.length === 0);
  }

  async function closeOne(index) {
    // Asking takes time, and rows move meanwhile.
    const row = rowOf(index);
    if (row && (await confirm(t('connections.sure', { host: row.host }), t('connections.close')))) await close(row.id);
  }

  async function close(id) {
    try {
      await api.delete(path`/connections/${id}`);
    } catch (error) {
      failed(error);
    }
  }

  /** Those that are listed at the moment of the click, not those that come while the question is open. */
  async function closeShown() {
    const ids = [...feed.order].map((key) => feed.rows.get(key)?.id).filter(Boolean);
    const everything = !view.query && !view.paused;
    const question = everything ? 'connections.sureAll' : 'connections.sureShown';
    if (!(await confirm(t(question, { count: count(ids.length) }), t('connections.close')))) return;
    if (everything) return api.delete('/connections');
    while (ids.length > 0) await Promise.all(ids.splice(0, TOGETHER).map(close));
  }

  let shutDrawer = () => {};
  let open = null;

  function openDrawer(row) {
    if (!row) return;
    const facts = h('dl', { class: 'facts' });
    const button = h('button', { type: 'button', class: 'danger' }, t('connections.close'));
    button.addEventListener('click', async () => {
      if (await confirm(t('connections.sure', { host: row.host }), t('connections.close'))) close(row.id);
    });
    const closed = () => {
      open = null;
      feed.detail(null);
    };
    shutDrawer = drawer(row.host, [facts, h('div', {}, button)], closed);
    open = { key: row.key, facts, button };
    feed.detail(row.key);
  }

  function showDetail({ detail }) {
    if (open?.key !== detail.key) return;
    const wanted = details(detail, pathOf(detail.raw));
    open.button.hidden = detail.closedAt > 0;
    open.facts.closest('.drawer').querySelector('h2').textContent = hostOf(detail.raw.metadata);
    // Same facts, other numbers: only texts change, so a selection in the panel survives.
    const cells = [...open.facts.children];
    if (cells.length === wanted.length * 2 && wanted.every(([key], index) => cells[index * 2].textContent === key)) {
      wanted.forEach(([, value], index) => write(cells[index * 2 + 1], value));
    } else {
      open.facts.replaceChildren(...wanted.flatMap(([key, value]) => [h('dt', {}, key), h('dd', {}, value)]));
    }
  }

  feed.addEventListener('frame', refresh);
  feed.addEventListener('detail', showDetail);
  mark();
  refresh();
  const end = feed.watch(1000, { ...view });
  return () => {
    feed.removeEventListener('frame', refresh);
    feed.removeEventListener('detail', showDetail);
    shutDrawer();
    end();
    list.destroy();
  };
}
