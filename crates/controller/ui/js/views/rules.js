import { path } from '../api.js';
import { h, icon, searchBox, write } from '../dom.js';
import { age, count, timeOf } from '../format.js';
import { t } from '../i18n.js';
import { repeat } from '../link.js';
import { busily, failed, toast } from '../overlay.js';
import { VirtualList } from '../virtual-list.js';

let query = '';

/** Hit counts are looked up again this often. */
const PERIOD = 5000;

export function mount(root, { api, link }) {
  root.classList.add('fills');
  let rules = [];
  let shown = [];
  const list = new VirtualList({
    label: t('nav.rules'),
    make: makeRow,
    fill: (row, index) => fillRow(row, shown[index]),
    keyOf: (index) => shown[index].index,
  });
  const total = h('span', { class: 'quiet number' });
  const update = h('button', { type: 'button' }, icon('update'), t('rules.update'));
  update.addEventListener('click', () => busily(update, updateProviders));
  const titles = ['#', t('rules.type'), t('rules.payload'), t('rules.target'), t('rules.hits'), t('rules.last')];
  root.append(
    h(
      'div',
      { class: 'toolbar' },
      searchBox(t('rules.search'), query, (text) => {
        query = text;
        refresh();
        list.toStart();
      }),
      total,
      h('span', { class: 'push' }, update),
    ),
    h(
      'div',
      { class: 'columns rules small', role: 'row' },
      titles.map((title, index) => h('span', { role: 'columnheader', class: index === 4 ? 'end' : '' }, title)),
    ),
    list.element,
  );

  function refresh() {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    shown = words.length > 0 ? rules.filter((rule) => words.every((word) => rule.text.includes(word))) : rules;
    write(total, shown.length === rules.length ? count(rules.length) : `${count(shown.length)} / ${count(rules.length)}`);
    list.update(shown.length);
  }

  async function fetchRules() {
    const answer = await api.get('/rules');
    rules = answer.rules.map((rule, index) => ({
      ...rule,
      index: rule.index ?? index,
      text: `${rule.type} ${rule.payload} ${rule.proxy}`.toLowerCase(),
    }));
    refresh();
  }

  async function updateProviders() {
    const { providers } = await api.get('/providers/rules');
    const names = Object.values(providers).filter(({ vehicleType }) => vehicleType !== 'Inline');
    const results = await Promise.allSettled(names.map(({ name }) => api.put(path`/providers/rules/${name}`)));
    for (const { reason } of results) if (reason) failed(reason);
    toast(t('providers.updated', { count: results.filter(({ status }) => status === 'fulfilled').length }));
    await fetchRules();
  }

  const end = repeat(link, PERIOD, fetchRules, failed);
  return () => {
    end();
    list.destroy();
  };
}

function makeRow() {
  const row = h('div', { class: 'row rules' });
  const kinds = ['number quiet', 'kind', 'what', 'target', 'hits end number', 'quiet small'];
  row.cells = kinds.map((kind) => h('span', { class: kind, role: 'gridcell' }));
  row.append(...row.cells);
  return row;
}

function fillRow({ cells }, { index, type, payload, proxy, size, extra }) {
  const hits = extra?.hitCount;
  const last = hits > 0 ? timeOf(extra.hitAt) : null;
  write(cells[0], String(index));
  write(cells[1], type);
  write(cells[2], `${payload || type}${size > 0 ? ` (${count(size)})` : ''}`);
  write(cells[3], `→ ${proxy}`);
  write(cells[4], hits === undefined ? '' : count(hits));
  write(cells[5], last === null ? '' : age(last));
}
