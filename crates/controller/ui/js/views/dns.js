import { h, select } from '../dom.js';
import { t } from '../i18n.js';
import { busily, confirm, failed, toast } from '../overlay.js';

const TYPES = ['A', 'AAAA', 'CNAME', 'MX', 'NS', 'TXT', 'HTTPS', 'SVCB', 'SRV', 'PTR', 'SOA', 'CAA'];
/** The numbers in answers (IANA, DNS parameters), for people. */
const NAMES = { 1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA', 33: 'SRV', 64: 'SVCB', 65: 'HTTPS', 257: 'CAA' };
const STATUS = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

const asked = { name: '', type: 'A' };

export function mount(root, { api }) {
  const name = h('input', { type: 'search', name: 'name', value: asked.name, required: true, placeholder: 'example.com', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', 'aria-label': t('dns.name') });
  name.dataset.search = '';
  const type = select(t('dns.type'), TYPES.map((type) => [type, type]), asked.type, (value) => (asked.type = value));
  const ask = h('button', { type: 'submit', class: 'primary' }, t('dns.ask'));
  const answer = h('section', { class: 'card', 'aria-live': 'polite', hidden: true });
  const submit = (event) => {
    event.preventDefault();
    asked.name = name.value.trim();
    if (asked.name) busily(ask, lookUp);
  };
  const flush = (label, question, route) => {
    const button = h('button', { type: 'button' }, label);
    button.addEventListener('click', () =>
      busily(button, async () => {
        if (!(await confirm(question, label))) return;
        await api.post(route);
        toast(t('dns.flushed'));
      }),
    );
    return button;
  };
  root.append(
    h(
      'div',
      { class: 'stack' },
      h('form', { class: 'toolbar', onsubmit: submit }, name, type, ask),
      answer,
      h(
        'div',
        { class: 'toolbar' },
        flush(t('dns.flush'), t('dns.flush.sure'), '/cache/dns/flush'),
        flush(t('dns.flushFake'), t('dns.flushFake.sure'), '/cache/fakeip/flush'),
      ),
    ),
  );
  name.focus();

  async function lookUp() {
    const begun = performance.now();
    try {
      const result = await api.get('/dns/query', { name: asked.name, type: asked.type });
      answer.replaceChildren(...show(result, performance.now() - begun));
      answer.hidden = false;
    } catch (error) {
      answer.hidden = true;
      failed(error);
    }
  }
}

function show(result, took) {
  const status = STATUS[result.Status] ?? String(result.Status);
  const line = h('p', { class: result.Status === 0 ? 'good' : 'bad' }, `${status} · ${t('proxies.ms', { delay: Math.round(took) })}`);
  const sections = ['Answer', 'Authority', 'Additional'].filter((section) => result[section]?.length > 0);
  if (sections.length === 0) return [line, h('p', { class: 'quiet' }, t('dns.nothing'))];
  return [line, ...sections.map((section) => table(t(`dns.${section}`), result[section]))];
}

function table(caption, records) {
  const head = [t('dns.name'), t('dns.type'), 'TTL', t('dns.data')].map((title) => h('th', { scope: 'col' }, title));
  const rows = records.map(({ name, type, TTL, data }) =>
    h('tr', {}, h('td', {}, name), h('td', { class: 'tight' }, NAMES[type] ?? String(type)), h('td', { class: 'tight number' }, String(TTL)), h('td', { class: 'mono' }, data)),
  );
  return h('table', { 'aria-label': caption }, h('thead', {}, h('tr', {}, head)), h('tbody', {}, rows));
}
