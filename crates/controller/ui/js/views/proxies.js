import { path } from '../api.js';
import { arrows, h, icon, searchBox, write } from '../dom.js';
import { delayClass } from '../format.js';
import { t } from '../i18n.js';
import { repeat } from '../link.js';
import { modeSwitch } from '../mode.js';
import { busily, failed, toast } from '../overlay.js';
import { chainOf, choiceBefore, DEFAULT_TEST_URL, delayOf, groupsOf, isChoosable, TEST_TIMEOUT, testAddress } from '../proxies/tree.js';

/** Which groups are unfolded, and what is searched; it outlives the view. */
const view = { open: new Set(), query: '' };

const PERIOD = 5000;
/** So many tests of members run at once; the controller has limits of its own. */
const TOGETHER = 10;

export function mount(root, { api, link }) {
  let proxies = {};
  let mode = 'rule';
  const cards = new Map();
  const list = h('div', { class: 'stack' });
  const empty = h('p', { class: 'empty', hidden: true }, t('nothing.found'));
  const modes = modeSwitch(api, () => refresh().catch(failed));
  const testAll = h('button', { type: 'button' }, icon('bolt'), t('proxies.testAll'));
  testAll.addEventListener('click', () =>
    busily(testAll, async () => {
      await inTurn(groupsOf(proxies, mode), 2, testGroup);
      await refresh();
    }),
  );
  const search = searchBox(t('proxies.search'), view.query, (query) => {
    view.query = query;
    draw();
  });
  root.append(h('div', { class: 'stack' }, h('div', { class: 'toolbar' }, search, modes, h('span', { class: 'push' }, testAll)), empty, list));

  async function refresh() {
    const [answer, config] = await Promise.all([api.get('/proxies'), api.get('/configs')]);
    ({ proxies } = answer);
    ({ mode } = config);
    modes.show(mode);
    draw();
  }

  function draw() {
    const query = view.query.toLowerCase();
    const matches = (name) => name.toLowerCase().includes(query);
    // A group is there if its name matches, whole; or else with those members that do.
    const shown = groupsOf(proxies, mode).flatMap((group) => {
      const members = matches(group.name) ? group.all : group.all.filter(matches);
      return members.length > 0 || matches(group.name) ? [{ group, members }] : [];
    });
    const names = shown.map(({ group }) => group.name);
    for (const [name, card] of cards) {
      if (names.includes(name)) continue;
      card.element.remove();
      cards.delete(name);
    }
    shown.forEach(({ group, members }, index) => {
      const card = cards.get(group.name) ?? new GroupCard(group, actions);
      cards.set(group.name, card);
      if (list.children[index] !== card.element) list.insertBefore(card.element, list.children[index] ?? null);
      card.update({ group, members, proxies, open: view.open.has(group.name) || (query !== '' && !matches(group.name)) });
    });
    empty.hidden = shown.length > 0 || Object.keys(proxies).length === 0;
  }

  const actions = {
    fold(name) {
      if (!view.open.delete(name)) view.open.add(name);
      draw();
    },
    async choose(name, member) {
      const before = choiceBefore(proxies[name]);
      if (member === before) return;
      await put(name, member);
      const undo = () => put(name, before).catch(failed);
      toast(t('proxies.switched', { group: name, member }), { undo });
    },
    unpin: (name) => put(name, null),
    async testGroup(name) {
      await testGroup(proxies[name]);
      await refresh();
    },
    async testMember(name, member) {
      await test(proxies[member], urlOf(proxies[name]));
      await refresh();
    },
  };

  /** Chooses a member; null takes a pin away. */
  async function put(group, member) {
    if (member === null) await api.delete(path`/proxies/${group}`);
    else await api.put(path`/proxies/${group}`, { name: member });
    await refresh();
  }

  /** A test of the whole group takes a pin away, which nobody asked for: then its members are tested one by one. */
  async function testGroup(group) {
    if (group.fixed) return inTurn(group.all, TOGETHER, (name) => proxies[name] && test(proxies[name], urlOf(group)));
    try {
      await api.get(path`/group/${group.name}/delay`, { url: urlOf(group), timeout: TEST_TIMEOUT });
    } catch (error) {
      // 504: every member failed. Their badges say so.
      if (error.status !== 504) throw error;
    }
  }

  async function test(proxy, url) {
    try {
      await api.get(testAddress(proxy), { url, timeout: TEST_TIMEOUT });
    } catch (error) {
      if (error.status !== 503 && error.status !== 504) throw error;
    }
  }

  return repeat(link, PERIOD, refresh, failed);
}

const urlOf = (group) => group.testUrl || DEFAULT_TEST_URL;

/** Runs `task` for each item, `together` at a time. */
async function inTurn(items, together, task) {
  const rest = [...items];
  const worker = async () => {
    while (rest.length > 0) await task(rest.shift());
  };
  await Promise.all(Array.from({ length: together }, worker));
}

/** One group: a head that is always there, and its members while it is unfolded. */
class GroupCard {
  #members = new Map();

  constructor(group, actions) {
    this.actions = actions;
    this.title = h('b');
    this.kind = h('span', { class: 'badge' });
    this.chain = h('span', { class: 'chain' });
    this.delay = h('span', { class: 'delay end' });
    this.head = h(
      'button',
      { type: 'button', class: 'name', 'aria-expanded': 'false', onclick: () => actions.fold(group.name) },
      h('span', {}, this.title, this.kind),
      this.chain,
    );
    this.unpin = this.#button('pin', t('proxies.unpin'), () => actions.unpin(group.name));
    const test = this.#button('bolt', t('proxies.test', { name: group.name }), () => actions.testGroup(group.name));
    this.icon = h('img', { alt: '', loading: 'lazy', referrerpolicy: 'no-referrer', hidden: true });
    this.icon.addEventListener('error', () => this.icon.remove());
    this.body = h('div', { class: 'members', role: 'group', 'aria-label': group.name });
    this.element = h('section', { class: 'card group', 'data-group': group.name }, h('div', { class: 'head' }, this.icon, this.head, this.delay, this.unpin, test), this.body);
    arrows(this.body, '.pick');
  }

  #button(name, label, act) {
    const button = h('button', { type: 'button', class: 'square plain', 'aria-label': label, title: label }, icon(name));
    button.addEventListener('click', () => busily(button, act));
    return button;
  }

  update({ group, members, proxies, open }) {
    const chain = chainOf(proxies, group.name);
    const url = urlOf(group);
    write(this.title, group.name);
    write(this.kind, `${group.type} · ${group.all.length}`);
    write(this.chain, chain.length > 0 ? `→ ${chain.join(' → ')}` : t('proxies.balanced'));
    showDelay(this.delay, delayOf(proxies[chain.at(-1)], url));
    this.unpin.hidden = !group.fixed;
    this.head.setAttribute('aria-expanded', String(open));
    this.body.hidden = !open;
    if (group.icon && this.icon.getAttribute('src') !== group.icon) {
      this.icon.src = group.icon;
      this.icon.hidden = false;
    }
    if (open) this.#list({ group, members, proxies, url });
    else this.#clear();
  }

  #clear() {
    this.#members.clear();
    this.body.replaceChildren();
  }

  #list({ group, members, proxies, url }) {
    for (const [name, { element }] of this.#members) {
      if (members.includes(name)) continue;
      element.remove();
      this.#members.delete(name);
    }
    members.forEach((name, index) => {
      const member = this.#members.get(name) ?? this.#member(group.name, name);
      this.#members.set(name, member);
      if (this.body.children[index] !== member.element) this.body.insertBefore(member.element, this.body.children[index] ?? null);
      const proxy = proxies[name];
      const now = name === group.now;
      member.element.classList.toggle('now', now);
      member.pick.setAttribute('aria-pressed', String(now));
      member.pick.disabled = !isChoosable(group);
      const chain = chainOf(proxies, name);
      write(member.kind, describe(proxy, chain));
      showDelay(member.delay, delayOf(proxy, url) ?? delayOf(proxies[chain.at(-1)], url));
    });
  }

  #member(group, name) {
    const kind = h('span', { class: 'quiet small' });
    const pick = h('button', { type: 'button', class: 'pick', title: name }, h('b', {}, name), kind);
    pick.addEventListener('click', () => busily(pick, () => this.actions.choose(group, name)));
    const label = t('proxies.test', { name });
    const delay = h('button', { type: 'button', class: 'delay', 'aria-label': label, title: label });
    delay.addEventListener('click', () => busily(delay, () => this.actions.testMember(group, name)));
    return { element: h('div', { class: 'member', 'data-member': name }, pick, delay), pick, kind, delay };
  }
}

function describe(proxy, chain) {
  if (!proxy) return '';
  if (chain.length > 0) return `${proxy.type} → ${chain.at(-1)}`;
  const extras = [proxy.udp && 'UDP', proxy['provider-name'], proxy['dialer-proxy'] && `via ${proxy['dialer-proxy']}`];
  return [proxy.type, ...extras.filter(Boolean)].join(' · ');
}

function showDelay(element, delay) {
  const text = delay === null ? '–' : delay === 0 ? t('proxies.timeout') : t('proxies.ms', { delay });
  write(element, text);
  element.className = `${element.tagName === 'SPAN' ? 'delay end' : 'delay'} ${delayClass(delay)}`;
}
