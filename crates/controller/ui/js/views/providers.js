import { path } from '../api.js';
import { h, icon } from '../dom.js';
import { age, bytes, count, moment, timeOf } from '../format.js';
import { t } from '../i18n.js';
import { repeat } from '../link.js';
import { busily, failed, toast } from '../overlay.js';

const PERIOD = 15_000;

export function mount(root, { api, link }) {
  const proxyCards = h('div', { class: 'grid' });
  const ruleCards = h('div', { class: 'grid' });
  const section = (title, route, cards) => {
    const all = h('button', { type: 'button', class: 'push' }, icon('update'), t('providers.updateAll'));
    all.addEventListener('click', () => busily(all, () => updateAll(route)));
    return [h('div', { class: 'toolbar' }, h('h2', {}, title), all), cards];
  };
  root.append(
    h(
      'div',
      { class: 'stack' },
      ...section(t('providers.proxy'), 'proxies', proxyCards),
      ...section(t('providers.rule'), 'rules', ruleCards),
    ),
  );

  async function refresh() {
    const [proxies, rules] = await Promise.all([proxyProviders(api), ruleProviders(api)]);
    replace(proxyCards, proxies, proxyCard);
    replace(ruleCards, rules, ruleCard);
  }

  function proxyCard(provider) {
    const { name, proxies } = provider;
    const alive = proxies.filter((proxy) => proxy.alive).length;
    const check = button('bolt', t('providers.check'), async () => {
      await api.get(path`/providers/proxies/${name}/healthcheck`);
      await refresh();
    });
    const about = t('providers.members', { count: count(proxies.length), alive: count(alive) });
    return card(provider, about, [subscription(provider.subscriptionInfo)], [updater('proxies', provider), check]);
  }

  function ruleCard(provider) {
    const about = `${provider.behavior} · ${t('providers.rules', { count: count(provider.ruleCount) })}`;
    return card(provider, about, [], [updater('rules', provider)]);
  }

  function updater(route, { name, vehicleType }) {
    if (vehicleType === 'Inline') return null;
    return button('update', t('providers.update'), async () => {
      await update(route, name);
      toast(t('providers.updatedOne', { name }));
      await refresh();
    });
  }

  const update = (route, name) => api.put(route === 'rules' ? path`/providers/rules/${name}` : path`/providers/proxies/${name}`);

  async function updateAll(route) {
    const providers = route === 'rules' ? await ruleProviders(api) : await proxyProviders(api);
    const wanted = providers.filter(({ vehicleType }) => vehicleType !== 'Inline');
    const results = await Promise.allSettled(wanted.map(({ name }) => update(route, name)));
    for (const { reason } of results) if (reason) failed(reason);
    toast(t('providers.updated', { count: results.filter(({ status }) => status === 'fulfilled').length }));
    await refresh();
  }

  return repeat(link, PERIOD, refresh, failed);
}

/** The lists that groups make of their own members are no providers to a reader. */
async function proxyProviders(api) {
  const { providers } = await api.get('/providers/proxies');
  return Object.values(providers).filter(({ name, vehicleType }) => name !== 'default' && vehicleType !== 'Compatible');
}

async function ruleProviders(api) {
  return Object.values((await api.get('/providers/rules')).providers);
}

/** Anew, but a button that has the focus gives it to its successor. */
function replace(cards, providers, make) {
  const focused = cards.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const made = providers.map(make);
  cards.replaceChildren(...(made.length > 0 ? made : [h('p', { class: 'quiet' }, t('providers.none'))]));
  if (focused) cards.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function card({ name, vehicleType, updatedAt }, about, more, buttons) {
  const time = timeOf(updatedAt);
  const loaded = time === null ? t('providers.never') : t('providers.age', { age: age(time) });
  for (const button of buttons) if (button) button.dataset.key = `${name} ${button.dataset.key}`;
  return h(
    'section',
    { class: 'card' },
    h('div', { class: 'toolbar' }, h('h3', {}, name), h('span', { class: 'badge' }, vehicleType)),
    h('p', { class: 'quiet small' }, about),
    // What is written in the configuration is loaded with it.
    vehicleType !== 'Inline' && h('p', { class: 'quiet small', title: time === null ? undefined : moment(time) }, loaded),
    more,
    h('div', { class: 'actions' }, buttons),
  );
}

function button(name, label, task) {
  const element = h('button', { type: 'button', 'data-key': name }, icon(name), label);
  element.addEventListener('click', () => busily(element, task));
  return element;
}

function subscription(info) {
  if (!info) return null;
  const used = info.Upload + info.Download;
  const bar = h('i');
  bar.style.width = `${info.Total > 0 ? Math.min(100, (100 * used) / info.Total) : 0}%`;
  const quota = info.Total > 0 ? `${bytes(used)} / ${bytes(info.Total)}` : bytes(used);
  const ends = info.Expire > 0 ? t('providers.expires', { when: age(info.Expire * 1000) }) : '';
  return h('div', {}, h('div', { class: 'meter' }, bar), h('p', { class: 'small number' }, [quota, ends].filter(Boolean).join(' · ')));
}
