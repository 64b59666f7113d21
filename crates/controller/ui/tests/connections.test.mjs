// Snapshots become rows.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import test from 'node:test';

import { CLOSED_LIMIT, ConnectionBook, hostOf, pathOf } from '../js/connections/book.js';

const connection = (id, more = {}, metadata = {}) => ({
  id,
  upload: 0,
  download: 0,
  start: '2026-11-24T10:00:00Z',
  chains: ['WireGuard-home', 'AI'],
  rule: 'RuleSet',
  rulePayload: 'claude',
  ...more,
  metadata: { network: 'tcp', type: 'HTTPS', sourceIP: '192.168.1.2', sourcePort: '5', destinationIP: '', destinationPort: '443', host: `${id}.example`, sniffHost: '', process: '', ...metadata },
});
const snapshot = (...connections) => ({ connections });
const view = (more) => ({ tab: 'active', query: '', column: 'host', descending: false, ...more });
const ids = (rows) => rows.map(({ id }) => id);

test('the way of a connection reads rule, group, outbound', () => {
  assert.equal(pathOf(connection('a')), 'RuleSet: claude → AI → WireGuard-home');
  assert.equal(pathOf({ rule: 'Match', rulePayload: '', chains: ['DIRECT'] }), 'Match → DIRECT');
  assert.equal(pathOf({ rule: '', rulePayload: '', chains: ['n', 'GLOBAL'] }), 'GLOBAL → n');
  assert.equal(pathOf({ rule: '', rulePayload: '', chains: null }), '');
});

test('a host is what is known of it', () => {
  assert.equal(hostOf({ host: 'a.example', destinationPort: '443' }), 'a.example:443');
  assert.equal(hostOf({ host: '', sniffHost: 's.example', destinationPort: '80' }), 's.example:80');
  assert.equal(hostOf({ host: '', destinationIP: '2001:db8::1', destinationPort: '53' }), '[2001:db8::1]:53');
});

test('new, moving and ended connections', () => {
  const book = new ConnectionBook();
  assert.deepEqual(ids(book.apply(snapshot(connection('a'), connection('b')), 1000).added), ['a', 'b']);
  const second = book.apply(snapshot(connection('a', { download: 3000, upload: 500 })), 3000);
  assert.deepEqual([second.added, second.dropped], [[], []]);
  assert.deepEqual([book.liveCount, book.closedCount], [1, 1]);
  const [a] = book.select(view());
  assert.deepEqual([a.downSpeed, a.upSpeed, a.download], [1500, 250, 3000]);
  const [b] = book.select(view({ tab: 'closed' }));
  assert.deepEqual([b.id, b.closedAt], ['b', 3000]);
});

test('null stands for no connections', () => {
  const book = new ConnectionBook();
  book.apply({ connections: null }, 1);
  assert.equal(book.liveCount, 0);
});

test('a rule and a sniffed name that come later are shown', () => {
  const book = new ConnectionBook();
  book.apply(snapshot(connection('a', { rule: '', rulePayload: '', chains: [] }, { host: '' })), 1);
  const { added } = book.apply(snapshot(connection('a', {}, { host: '', sniffHost: 'late.example' })), 1001);
  assert.deepEqual([added[0].host, added[0].path], ['late.example:443', 'RuleSet: claude → AI → WireGuard-home']);
});

test('time without snapshots makes no speed', () => {
  const book = new ConnectionBook();
  book.apply(snapshot(connection('a')), 1000);
  book.pause();
  book.apply(snapshot(connection('a', { download: 1e9 })), 60_000);
  assert.equal(book.select(view())[0].downSpeed, 0);
});

test('counters of a restarted daemon make no negative speed', () => {
  const book = new ConnectionBook();
  book.apply(snapshot(connection('a', { download: 500 })), 1000);
  book.apply(snapshot(connection('a', { download: 0 })), 2000);
  assert.equal(book.select(view())[0].downSpeed, 0);
});

test('ended connections are bounded, the latest first', () => {
  const book = new ConnectionBook();
  book.apply(snapshot(...Array.from({ length: CLOSED_LIMIT + 10 }, (_, index) => connection(`c${index}`))), 1);
  const { dropped } = book.apply(snapshot(), 2);
  assert.deepEqual([book.closedCount, dropped.length, book.all().length], [CLOSED_LIMIT, 10, CLOSED_LIMIT]);
});

test('every word of a search must be found somewhere', () => {
  const book = new ConnectionBook();
  book.apply(snapshot(connection('a', { chains: ['DIRECT'] }), connection('b', {}, { process: 'curl' })), 1);
  assert.deepEqual(ids(book.select(view({ query: 'CLAUDE curl' }))), ['b']);
  assert.deepEqual(ids(book.select(view({ query: '192.168.1.2 direct' }))), ['a']);
  assert.deepEqual(ids(book.select(view({ query: 'nothing' }))), []);
});

test('any column sorts both ways, equal rows keep their order', () => {
  const book = new ConnectionBook();
  book.apply(snapshot(connection('a', { download: 2 }), connection('b', { download: 2 }), connection('c', { download: 1 })), 1);
  assert.deepEqual(ids(book.select(view({ column: 'download' }))), ['c', 'a', 'b']);
  assert.deepEqual(ids(book.select(view({ column: 'download', descending: true }))), ['a', 'b', 'c']);
  assert.deepEqual(ids(book.select(view({ descending: true }))), ['c', 'b', 'a']);
});

test('10,000 connections: how long a snapshot takes', (context) => {
  const all = Array.from({ length: 10_000 }, (_, index) => connection(`host-${index}`, { download: (index * 7919) % 10_007 }));
  const book = new ConnectionBook();
  const timed = (what) => {
    const begun = performance.now();
    what();
    return (performance.now() - begun).toFixed(1);
  };
  const text = JSON.stringify(snapshot(...all));
  let read;
  const parse = timed(() => (read = JSON.parse(text)));
  const first = timed(() => book.apply(read, 1));
  const next = timed(() => book.apply(JSON.parse(text), 1001));
  const sort = timed(() => book.select(view({ column: 'download' })));
  const search = timed(() => book.select(view({ query: 'host-99' })));
  context.diagnostic(`${(text.length / 1e6).toFixed(1)} MB: parse ${parse} ms, first ${first} ms, parse and next ${next} ms, sort ${sort} ms, search ${search} ms`);
  assert.equal(book.liveCount, 10_000);
});
