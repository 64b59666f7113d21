// What `/proxies` says, read: which groups are shown, where a group leads, how fast its members are.

export const DEFAULT_TEST_URL = 'https://www.gstatic.com/generate_204';
export const TEST_TIMEOUT = 5000;

/** Groups as the configuration orders them (GLOBAL lists everything in order); GLOBAL itself where it decides. */
export function groupsOf(proxies, mode) {
  const order = proxies.GLOBAL?.all ?? Object.keys(proxies);
  const groups = order.map((name) => proxies[name]).filter((proxy) => proxy?.all && !proxy.hidden && proxy.name !== 'GLOBAL');
  return mode === 'global' && proxies.GLOBAL ? [proxies.GLOBAL, ...groups] : groups;
}

/** The members that a group leads to at the moment, the outbound last: ["Auto", "node-1"]. */
export function chainOf(proxies, name) {
  const chain = [];
  let next = proxies[name]?.now;
  while (next && !chain.includes(next)) {
    chain.push(next);
    next = proxies[next]?.now;
  }
  return chain;
}

/** The last delay in ms, 0 for a failed test, null for none; of this test address if it was ever used. */
export function delayOf(proxy, url) {
  const history = proxy?.extra?.[url]?.history?.length ? proxy.extra[url].history : proxy?.history;
  return history?.length ? history[history.length - 1].delay : null;
}

/** What a member's test is: those of providers have an address of their own, and may share a name with others. */
export function testAddress(proxy) {
  const provider = proxy['provider-name'];
  const name = encodeURIComponent(proxy.name);
  return provider ? `/providers/proxies/${encodeURIComponent(provider)}/${name}/healthcheck` : `/proxies/${name}/delay`;
}

/** Whether a member can be chosen by hand; the members of other groups take turns. */
export function isChoosable({ type }) {
  return ['Selector', 'URLTest', 'Fallback'].includes(type);
}

/** A `PUT` that takes a choice back, or null where that needs a `DELETE` (there was no pin). */
export function choiceBefore(group) {
  return group.type === 'Selector' ? group.now : group.fixed || null;
}
