// What needs no browser. Run: node --test crates/controller/ui/tests

import assert from 'node:assert/strict';
import test from 'node:test';

import { Api, endpointOf, path, withoutSecret } from '../js/api.js';
import { paceFor } from '../js/connections/feed.js';
import * as format from '../js/format.js';
import { ceiling, Series } from '../js/graph.js';
import { pick } from '../js/i18n.js';
import { backoff } from '../js/link.js';
import { chainOf, choiceBefore, delayOf, groupsOf, testAddress } from '../js/proxies/tree.js';
import { routeOf } from '../js/router.js';
import { offsetOf } from '../js/views/config.js';
import { scrollFor, windowOf } from '../js/virtual-list.js';

test('the controller is the one that served the page, below its prefix', () => {
  assert.equal(endpointOf('http://127.0.0.1:9090/ui/').base, 'http://127.0.0.1:9090');
  assert.equal(endpointOf('https://home.example/adit/ui/#/proxies').base, 'https://home.example/adit');
  assert.equal(endpointOf('http://host/ui').base, 'http://host');
  assert.equal(endpointOf('http://host/guide/ui/index.html').base, 'http://host/guide');
});

test('hostname, port and secret of an address are taken from before and behind the #', () => {
  const given = endpointOf('http://127.0.0.1:9090/ui/?hostname=192.168.1.1&port=9999&secret=a%26b');
  assert.deepEqual(given, { base: 'http://192.168.1.1:9999', secret: 'a&b' });
  assert.deepEqual(endpointOf('http://a:1/ui/#/setup?hostname=b&port=2&secret=s'), { base: 'http://b:2', secret: 's' });
  assert.equal(endpointOf('http://a:1/ui/?hostname=2001:db8::1&port=9090').base, 'http://[2001:db8::1]:9090');
  assert.equal(endpointOf('http://a:1/x/ui/?hostname=a&port=1').base, 'http://a:1/x', 'the same controller, by its name');
});

test('a secret leaves the address and nothing else does', () => {
  assert.equal(withoutSecret('http://a/ui/?secret=s&port=1#/dns'), 'http://a/ui/?port=1#/dns');
  assert.equal(withoutSecret('http://a/ui/#/setup?secret=s&port=1'), 'http://a/ui/#/setup?port=1');
  assert.equal(withoutSecret('http://a/ui/#/dns?secret=s'), 'http://a/ui/#/dns');
});

test('names round-trip as one segment of a path', () => {
  assert.equal(path`/proxies/${'a/b #?🇩🇪'}/delay`, '/proxies/a%2Fb%20%23%3F%F0%9F%87%A9%F0%9F%87%AA/delay');
});

test('WebSockets carry the secret as a token, only if there is one', () => {
  assert.equal(new Api('https://a', 's+t').socketUrl('/logs', { level: 'info' }), 'wss://a/logs?level=info&token=s%2Bt');
  assert.equal(new Api('http://a').socketUrl('/traffic'), 'ws://a/traffic');
});

test('an unknown address is the first view', () => {
  assert.equal(routeOf('#/logs?x=1', ['overview', 'logs']), 'logs');
  assert.equal(routeOf('#/nothing', ['overview', 'logs']), 'overview');
  assert.equal(routeOf('', ['overview', 'logs']), 'overview');
});

test('waiting doubles up to ten seconds', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 99].map((attempt) => backoff(attempt, 0.5)), [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  assert.equal(backoff(0, 0), 400);
});

test('a window of rows covers what is seen, and never leaves the list', () => {
  const list = { height: 300, rowHeight: 30, count: 10_000, overscan: 5 };
  assert.deepEqual(windowOf({ ...list, scrollTop: 0 }), { first: 0, last: 15 });
  assert.deepEqual(windowOf({ ...list, scrollTop: 3010 }), { first: 95, last: 116 });
  assert.deepEqual(windowOf({ ...list, scrollTop: 299_700 }), { first: 9985, last: 10_000 });
  assert.deepEqual(windowOf({ ...list, count: 0, scrollTop: 500 }), { first: 0, last: 0 });
  for (let scrollTop = 0; scrollTop < 5000; scrollTop += 7) {
    const { first, last } = windowOf({ ...list, scrollTop });
    assert.ok(first * 30 <= scrollTop && last * 30 >= scrollTop + 300 && last - first <= 21);
  }
});

test('a row is scrolled into view by as little as possible', () => {
  const list = { height: 300, rowHeight: 30 };
  assert.equal(scrollFor({ ...list, index: 5, scrollTop: 0 }), 0);
  assert.equal(scrollFor({ ...list, index: 10, scrollTop: 0 }), 30);
  assert.equal(scrollFor({ ...list, index: 2, scrollTop: 300 }), 60);
});

test('numbers read well', () => {
  format.speak('en');
  assert.deepEqual([0, 1023, 1024, 1536, 1_048_524, 123_456_789].map(format.bytes), ['0 B', '1,023 B', '1.0 KiB', '1.5 KiB', '1.0 MiB', '118 MiB']);
  assert.deepEqual([0, 7000, 765_000, 11_565_000, 97_200_000].map(format.duration), ['0:00', '0:07', '12:45', '3:12:45', '1d 03:00']);
  assert.equal(format.age(0, 3_700_000), '1 hour ago');
  assert.equal(format.timeOf('0001-01-01T00:00:00Z'), null);
  assert.equal(format.timeOf('1970-01-01T00:00:00Z'), null);
  assert.deepEqual([null, 0, 20, 300, 900].map(format.delayClass), ['', 'bad', 'good', 'fair', 'bad']);
  format.speak('ru');
  assert.equal(format.bytes(1536), '1,5 KiB');
});

test('a scale is round and not below the peak', () => {
  assert.deepEqual([0, 1024, 1025, 900 * 1024, 3 * 1024 * 1024].map(ceiling), [1024, 1024, 2048, 1024 * 1024, 5 * 1024 * 1024]);
  const series = new Series(2);
  for (const value of [9, 3, 4]) series.push(value, 1);
  assert.deepEqual([series.points.length, series.peak], [2, 4]);
});

test('the first language that is spoken', () => {
  assert.equal(pick(['', 'de-DE', 'zh-Hans-CN', 'en']), 'zh');
  assert.equal(pick(['fr']), 'en');
});

test('a slow machine is asked less often', () => {
  assert.deepEqual([20, 340, 900, 9000].map((cost) => paceFor(cost, 1000)), [1000, 1500, 3000, 5000]);
});

test('groups in the order of GLOBAL, hidden ones left out, GLOBAL where it decides', () => {
  const proxies = {
    Zoo: { name: 'Zoo', type: 'Selector', all: ['Auto'], now: 'Auto' },
    Auto: { name: 'Auto', type: 'URLTest', all: ['n'], now: 'n', fixed: '' },
    Hidden: { name: 'Hidden', all: ['n'], hidden: true },
    n: { name: 'n', history: [{ delay: 9 }, { delay: 5 }], extra: { u: { history: [{ delay: 0 }] } } },
    loop: { name: 'loop', all: ['loop'], now: 'loop' },
    GLOBAL: { name: 'GLOBAL', all: ['n', 'Zoo', 'Hidden', 'Auto', 'gone'] },
  };
  assert.deepEqual(groupsOf(proxies, 'rule').map(({ name }) => name), ['Zoo', 'Auto']);
  assert.deepEqual(groupsOf(proxies, 'global').map(({ name }) => name), ['GLOBAL', 'Zoo', 'Auto']);
  assert.deepEqual(chainOf(proxies, 'Zoo'), ['Auto', 'n']);
  assert.deepEqual(chainOf(proxies, 'loop'), ['loop']);
  assert.deepEqual([delayOf(proxies.n, 'u'), delayOf(proxies.n, 'v'), delayOf(proxies.Auto, 'u')], [0, 5, null]);
  assert.deepEqual([choiceBefore(proxies.Zoo), choiceBefore(proxies.Auto)], ['Auto', null]);
  assert.equal(testAddress({ name: 'a b' }), '/proxies/a%20b/delay');
  assert.equal(testAddress({ name: 'a', 'provider-name': 'p/q' }), '/providers/proxies/p%2Fq/a/healthcheck');
});

test('line and column become an offset, past the end the end', () => {
  assert.equal(offsetOf('ab\ncd\n', 2, 2), 4);
  assert.equal(offsetOf('ab\ncd', 2, 99), 5);
  assert.equal(offsetOf('ab', 9, 1), 2);
});
