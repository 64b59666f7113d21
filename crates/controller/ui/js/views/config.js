import { h, select } from '../dom.js';
import { t } from '../i18n.js';
import { repeat } from '../link.js';
import { modeSwitch } from '../mode.js';
import { busily, confirm, failed, toast } from '../overlay.js';
import { secrets } from '../store.js';

const LEVELS = ['debug', 'info', 'warning', 'error', 'silent'];
const PERIOD = 15_000;

/** What was typed for a check outlives the view. */
let draft = '';

export function mount(root, { api, link }) {
  const facts = h('dl', { class: 'facts' });
  const mode = modeSwitch(api);
  let level = '';
  const levels = select(t('config.level'), LEVELS.map((name) => [name, name]), '', (wanted) => setLevel(wanted, true));
  const reload = h('button', { type: 'button' }, t('config.reload'));
  reload.addEventListener('click', () => busily(reload, reloadFile));
  const forget = h('button', { type: 'button', hidden: !api.secret }, t('secret.forget'));
  forget.addEventListener('click', () => {
    secrets.forget(api.base);
    api.secret = '';
    link.restart();
  });
  root.append(
    h(
      'div',
      { class: 'stack' },
      h('div', { class: 'toolbar' }, mode, h('label', { class: 'toolbar' }, t('config.level'), levels), reload, forget),
      checkCard(api),
      h('section', { class: 'card' }, h('h2', {}, t('config.running')), facts),
    ),
  );

  async function setLevel(wanted, undoable) {
    const before = level;
    try {
      await api.patch('/configs', { 'log-level': wanted });
      level = wanted;
      toast(t('config.levelChanged', { level: wanted }), { undo: undoable && before ? () => setLevel(before, false) : null });
    } catch (error) {
      failed(error);
    }
    levels.value = level;
  }

  async function reloadFile() {
    if (!(await confirm(t('config.reload.sure'), t('config.reload')))) return;
    await api.put('/configs', { path: '', payload: '' }, { force: 'true' });
    toast(t('config.reloaded'));
    await refresh();
  }

  async function refresh() {
    const config = await api.get('/configs');
    level = config['log-level'];
    levels.value = level;
    mode.show(config.mode);
    const shown = Object.entries(config).filter(([, value]) => value !== null && value !== '');
    facts.replaceChildren(...shown.flatMap(([key, value]) => [h('dt', {}, key), h('dd', { class: 'mono' }, textOf(value))]));
  }

  return repeat(link, PERIOD, refresh, failed);
}

function textOf(value) {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** A configuration is read and judged, and nothing of it applied. */
function checkCard(api) {
  const text = h('textarea', { rows: '10', spellcheck: 'false', autocapitalize: 'none', placeholder: 'mixed-port: 7890\nproxies: …', 'aria-label': t('check.label') });
  text.value = draft;
  text.addEventListener('input', () => (draft = text.value));
  const result = h('div', { 'aria-live': 'polite' });
  const button = h('button', { type: 'button', class: 'primary' }, t('check.do'));
  button.addEventListener('click', () => busily(button, check));

  async function check() {
    try {
      const { ok, problems } = await api.post('/configs/check', { payload: draft });
      const verdict = h('p', { class: ok ? 'good' : 'bad' }, t(ok ? 'check.ok' : 'check.bad', { count: problems.length }));
      result.replaceChildren(verdict, h('ul', { class: 'problems' }, problems.map((problem) => h('li', {}, line(problem)))));
    } catch (error) {
      if (error.status !== 404) throw error;
      result.replaceChildren(h('p', { class: 'quiet' }, t('check.missing')));
    }
  }

  function line({ line, column, severity, message, hint }) {
    const place = line ? `${line}:${column ?? 1} ` : '';
    const colour = severity === 'error' ? 'bad' : 'fair';
    const jump = () => {
      const start = offsetOf(text.value, line, column ?? 1);
      text.focus();
      text.setSelectionRange(start, start);
      // Browsers do not scroll to a caret that a script moved.
      const height = Number.parseFloat(getComputedStyle(text).lineHeight);
      text.scrollTop = (line - 1) * height - text.clientHeight / 2;
    };
    return h(
      'button',
      { type: 'button', disabled: !line, onclick: jump },
      h('span', { class: `mono ${colour}` }, `${place}${severity}`),
      ` ${message}`,
      hint && h('span', { class: 'quiet small' }, ` ${hint}`),
    );
  }

  return h(
    'section',
    { class: 'card stack' },
    h('div', {}, h('h2', {}, t('check.title')), h('p', { class: 'quiet small' }, t('check.about'))),
    text,
    h('div', { class: 'toolbar' }, button),
    result,
  );
}

/** Where line and column (from 1) are in a text; past its end: the end. */
export function offsetOf(text, line, column) {
  const lines = text.split('\n');
  const before = lines.slice(0, line - 1).reduce((sum, { length }) => sum + length + 1, 0);
  return Math.min(text.length, before + Math.min(column - 1, lines[line - 1]?.length ?? 0));
}
