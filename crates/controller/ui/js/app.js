// The frame around the views: address and secret, language, theme, shortcuts, the banner while the daemon is away.

import { Api, endpointOf, withoutSecret } from './api.js';
import { ConnectionFeed } from './connections/feed.js';
import { h, icon, select } from './dom.js';
import { LANGUAGES, load, pick, t } from './i18n.js';
import { Link } from './link.js';
import { askSecret, showShortcuts } from './overlay.js';
import { Router } from './router.js';
import { secrets, settings } from './store.js';

const VIEWS = {
  overview: () => import('./views/overview.js'),
  proxies: () => import('./views/proxies.js'),
  connections: () => import('./views/connections.js'),
  rules: () => import('./views/rules.js'),
  providers: () => import('./views/providers.js'),
  dns: () => import('./views/dns.js'),
  logs: () => import('./views/logs.js'),
  config: () => import('./views/config.js'),
};

const endpoint = endpointOf(location.href);
if (endpoint.secret) {
  secrets.set(endpoint.base, endpoint.secret, secrets.kept(endpoint.base));
  history.replaceState(null, '', withoutSecret(location.href));
}
const api = new Api(endpoint.base, secrets.get(endpoint.base) ?? '');
const link = new Link(api);
const app = {
  api,
  link,
  feed: new ConnectionFeed(link, api),
  entered(name) {
    document.getElementById('title').textContent = t(`nav.${name}`);
    document.title = `${t(`nav.${name}`)} · adit`;
    for (const item of document.querySelectorAll('#nav a:not(.brand)')) {
      if (item.hash === `#/${name}`) item.setAttribute('aria-current', 'page');
      else item.removeAttribute('aria-current');
    }
  },
};
const router = new Router(document.getElementById('main'), VIEWS, app);

let asking = false;

async function unlock() {
  if (asking) return;
  asking = true;
  const { secret, keep } = await askSecret(endpoint.base, api.secret !== '');
  asking = false;
  api.secret = secret;
  secrets.set(endpoint.base, secret, keep);
  link.restart();
}

function showState() {
  const banner = document.getElementById('banner');
  banner.hidden = link.state !== 'offline';
  // The page's policy lets it talk to its own controller only; another one has a page of its own.
  const foreign = new URL(endpoint.base).origin !== location.origin;
  const away = foreign
    ? h('span', {}, t('foreign'), ' ', h('a', { href: `${endpoint.base}/ui/` }, `${endpoint.base}/ui/`))
    : h('span', {}, h('b', {}, t('offline')), ' ', t('offline.more'));
  banner.replaceChildren(banner.hidden ? '' : away);
  if (link.state === 'locked') unlock();
}

function showPreferences() {
  const theme = () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === 'dark'
      : matchMedia('(prefers-color-scheme: dark)').matches;
    const chosen = dark ? 'light' : 'dark';
    document.documentElement.dataset.theme = chosen;
    settings.set('theme', chosen);
  };
  const language = select(t('language'), LANGUAGES, document.documentElement.lang.slice(0, 2), async (chosen) => {
    settings.set('language', chosen);
    await load(chosen);
    showPreferences();
    showState();
    router.show();
  });
  const button = (name, label, act, kind = '') =>
    h('button', { type: 'button', class: `square ${kind}`, 'aria-label': label, title: label, onclick: act }, icon(name));
  document
    .getElementById('preferences')
    .replaceChildren(language, button('theme', t('theme'), theme), button('help', t('shortcuts'), help, 'desk'));
}

function help() {
  const views = Object.keys(VIEWS).map((name, index) => [String(index + 1), t(`nav.${name}`)]);
  const others = ['/', 'p', '↑ ↓', 'Enter', 'Delete', 'Esc', '?'].map((key) => [key, t(`key.${key}`)]);
  showShortcuts([...views, ...others]);
}

function shortcut(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (event.target.closest('input, textarea, select')) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const view = Object.keys(VIEWS)[Number(event.key) - 1];
  const target = { '/': '[data-search]', p: '[data-pause]' }[event.key];
  if (view) location.hash = `#/${view}`;
  else if (target) press(document.querySelector(`#main ${target}`));
  else if (event.key === '?') help();
  else return;
  event.preventDefault();
}

function press(element) {
  if (element?.matches('input')) element.select();
  else element?.click();
}

link.addEventListener('change', showState);
addEventListener('keydown', shortcut);
addEventListener('online', () => link.probe());
document.addEventListener('visibilitychange', () => document.hidden || link.online || link.probe());
document.querySelector('.skip').addEventListener('click', (event) => {
  // Its address would be taken for a view's.
  event.preventDefault();
  document.getElementById('main').focus();
});

const probed = link.probe();
await load(pick([settings.get('language') ?? '', ...navigator.languages]));
showPreferences();
showState();
router.show();
await probed;
