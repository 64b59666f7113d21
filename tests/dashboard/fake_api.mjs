// fake_api.mjs [PORT [CONNECTIONS]]: a controller that only pretends, for work on the dashboard and for measuring it.
// Serves crates/controller/ui at /ui/ with the real headers. The secret is "test". Prints its address, then every call that
// would change something.

import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const port = Number(process.argv[2] ?? 0);
const size = Number(process.argv[3] ?? 10_000);
const UI = fileURLToPath(new URL('../../crates/controller/ui/', import.meta.url));
const SECRET = 'test';
const POLICY =
  "default-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.svg': 'image/svg+xml', '.webmanifest': 'application/manifest+json' };
const TEST_URL = 'https://www.gstatic.com/generate_204';

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const delay = (ms) => (ms === null ? [] : [{ time: new Date().toISOString(), delay: ms }]);
const proxy = (name, type, ms = null, more = {}) => ({ name, type, udp: true, alive: ms !== 0, history: delay(ms), extra: ms === null ? {} : { [TEST_URL]: { alive: ms > 0, history: delay(ms) } }, ...more });
const group = (name, type, all, now, more = {}) => ({ name, type, udp: true, alive: true, history: [], extra: {}, all, now, testUrl: '', hidden: false, icon: '', ...more });
const nodes = Array.from({ length: 24 }, (_, index) => proxy(`${pick(['🇩🇪 Frankfurt', '🇳🇱 Amsterdam', '🇫🇮 Helsinki', '🇯🇵 Tokyo'])} ${index + 1}`, pick(['Vless', 'Vless', 'WireGuard']), pick([38, 87, 142, 260, 512, 900, 0, null]), { 'provider-name': 'subscription' }));
const names = nodes.map(({ name }) => name);
const order = ['Proxy', 'AI', 'Auto', 'Balance', 'Spare', 'Hidden', 'DIRECT', 'REJECT', 'WireGuard-home', ...names];
const proxies = Object.fromEntries(
  [
    proxy('DIRECT', 'Direct', 12),
    proxy('REJECT', 'Reject'),
    proxy('WireGuard-home', 'WireGuard', 64),
    ...nodes,
    group('Proxy', 'Selector', ['Auto', 'Balance', 'DIRECT', ...names.slice(0, 6)], 'Auto'),
    group('AI', 'Selector', ['WireGuard-home', 'Proxy', 'REJECT'], 'WireGuard-home'),
    group('Auto', 'URLTest', names, names[0], { testUrl: TEST_URL, fixed: names[0] }),
    group('Balance', 'LoadBalance', names.slice(0, 8), undefined, { testUrl: TEST_URL }),
    group('Spare', 'Fallback', ['WireGuard-home', ...names.slice(0, 3)], 'WireGuard-home', { fixed: '' }),
    group('Hidden', 'Selector', ['DIRECT'], 'DIRECT', { hidden: true }),
    group('GLOBAL', 'Selector', order, 'Proxy'),
  ].map((entry) => [entry.name, entry]),
);
const config = { port: 0, 'socks-port': 0, 'redir-port': 7892, 'tproxy-port': 7893, 'mixed-port': 7890, tun: { enable: false, stack: 'gVisor' }, authentication: null, 'allow-lan': true, 'bind-address': '*', mode: 'rule', 'log-level': 'info', ipv6: true, sniffing: true, 'unified-delay': true, 'tcp-concurrent': false, 'routing-mark': 0 };
const rules = Array.from({ length: 12_000 }, (_, index) => ({ index, type: index < 3 ? 'RuleSet' : 'DomainSuffix', payload: ['claude', 'ads', 'private'][index] ?? `site-${index}.example`, proxy: ['AI', 'REJECT', 'DIRECT'][index] ?? 'Proxy', size: index < 3 ? 1200 : -1, extra: { disabled: false, hitCount: Math.floor(5000 / (index + 1)), hitAt: new Date().toISOString(), missCount: 9, missAt: new Date().toISOString() } }));
const hour = () => new Date(Date.now() - 3_600_000).toISOString();
const proxyProviders = { default: { name: 'default', type: 'Proxy', vehicleType: 'Compatible', proxies: [] }, subscription: { name: 'subscription', type: 'Proxy', vehicleType: 'HTTP', proxies: nodes, testUrl: TEST_URL, updatedAt: hour(), subscriptionInfo: { Upload: 8e9, Download: 62e9, Total: 2e11, Expire: Math.floor(Date.now() / 1000) + 20 * 86_400 } } };
const ruleProviders = { claude: { name: 'claude', type: 'Rule', behavior: 'Domain', format: 'MrsRule', vehicleType: 'HTTP', ruleCount: 1200, updatedAt: hour() }, private: { name: 'private', type: 'Rule', behavior: 'IPCIDR', format: 'YamlRule', vehicleType: 'File', ruleCount: 18, updatedAt: '0001-01-01T00:00:00Z' } };

let totals = { up: 0, down: 0 };
const open = new Map();
function connect(index = Math.floor(Math.random() * 1e6)) {
  const ai = index % 7 === 0;
  const id = randomUUID();
  open.set(id, {
    id,
    upload: 0,
    download: 0,
    start: new Date(Date.now() - Math.random() * 3e6).toISOString(),
    chains: ai ? ['WireGuard-home', 'AI'] : [names[index % names.length], 'Auto', 'Proxy'],
    providerChains: ai ? ['', ''] : ['subscription', '', ''],
    rule: ai ? 'RuleSet' : 'DomainSuffix',
    rulePayload: ai ? 'claude' : `site-${index}.example`,
    metadata: { network: index % 5 ? 'tcp' : 'udp', type: pick(['HTTPS', 'Socks5', 'TProxy']), sourceIP: `192.168.1.${index % 250}`, sourcePort: String(20_000 + (index % 40_000)), destinationIP: index % 3 ? '' : '2001:db8::7', destinationPort: '443', host: index % 11 ? `${ai ? 'api.claude' : `host-${index}.site`}.example` : '', sniffHost: '', inboundIP: '127.0.0.1', inboundPort: '7890', inboundName: 'DEFAULT-MIXED', inboundUser: '', dnsMode: 'fake-ip', process: index % 4 ? '' : 'curl', processPath: index % 4 ? '' : '/usr/bin/curl', uid: 1000, remoteDestination: '203.0.113.9', dscp: 0, specialProxy: '', specialRules: '', sourceGeoIP: null, destinationGeoIP: null },
  });
}
for (let index = 0; index < size; index += 1) connect(index);
// Every second a fiftieth moves bytes, and a few come and go.
setInterval(() => {
  for (const entry of open.values()) if (Math.random() < 0.02) (entry.download += 40_000 * Math.random()), (entry.upload += 3000 * Math.random());
  for (const id of [...open.keys()].slice(0, Math.ceil(size / 500))) open.delete(id), connect();
}, 1000).unref();

const snapshot = () => ({ downloadTotal: Math.floor(totals.down), uploadTotal: Math.floor(totals.up), memory: 5e7, connections: [...open.values()].map((entry) => ({ ...entry, upload: Math.floor(entry.upload), download: Math.floor(entry.download) })) });
const wave = (scale) => Math.floor(scale * (1.2 + Math.sin(Date.now() / 7000)) * Math.random());
const STREAMS = {
  '/traffic': () => ((totals = { up: totals.up + wave(9e4), down: totals.down + wave(2e6) }), { up: wave(9e4), down: wave(2e6), upTotal: totals.up, downTotal: totals.down }),
  '/memory': () => ({ inuse: 48e6 + wave(1e6), oslimit: 0 }),
  '/connections': snapshot,
  '/logs': () => ({ type: pick(['info', 'info', 'info', 'warning', 'debug', 'error']), payload: `[TCP] 192.168.1.10:${Math.floor(Math.random() * 60_000)} --> api.claude.example:443 match RuleSet(claude) using AI[WireGuard-home] <b>not bold</b>` }),
};

const moved = (name) => (proxies[name].history = [{ time: new Date().toISOString(), delay: pick([41, 93, 180, 420, 0]) }]);
/** [method, path pattern, answer]: an object is JSON, null is 204, a number is a status. */
const ROUTES = [
  ['GET', /^\/version$/, () => ({ meta: true, version: 'adit 0.0.0 (fake)' })],
  ['GET', /^\/configs$/, () => config],
  ['PATCH', /^\/configs$/, (_, body) => (Object.assign(config, body), null)],
  ['PUT', /^\/configs$/, () => null],
  ['POST', /^\/configs\/check$/, (_, { payload }) => ({ ok: !payload.includes('oops'), problems: payload.includes('oops') ? [{ line: payload.split('\n').findIndex((line) => line.includes('oops')) + 1, column: 3, severity: 'error', message: 'unknown key `oops`', hint: 'did you mean `ops`?' }] : [] })],
  ['GET', /^\/proxies$/, () => ({ proxies })],
  ['GET', /^\/proxies\/([^/]+)$/, ([name]) => proxies[name] ?? 404],
  ['PUT', /^\/proxies\/([^/]+)$/, ([name], body) => ((proxies[name].now = body.name), 'fixed' in proxies[name] && (proxies[name].fixed = body.name), null)],
  ['DELETE', /^\/proxies\/([^/]+)$/, ([name]) => ((proxies[name].fixed = ''), null)],
  ['GET', /^\/proxies\/([^/]+)\/delay$/, ([name]) => ({ delay: moved(name)[0].delay })],
  ['GET', /^\/group\/([^/]+)\/delay$/, ([name]) => (proxies[name].all.forEach(moved), {})],
  ['GET', /^\/providers\/proxies$/, () => ({ providers: proxyProviders })],
  ['GET', /^\/providers\/rules$/, () => ({ providers: ruleProviders })],
  ['PUT', /^\/providers\/(?:proxies|rules)\/[^/]+$/, () => null],
  ['GET', /^\/providers\/proxies\/[^/]+\/healthcheck$/, () => null],
  ['GET', /^\/providers\/proxies\/[^/]+\/([^/]+)\/healthcheck$/, ([name]) => ({ delay: moved(name)[0].delay })],
  ['GET', /^\/rules$/, () => ({ rules })],
  ['GET', /^\/connections$/, snapshot],
  ['DELETE', /^\/connections$/, () => (open.clear(), null)],
  ['DELETE', /^\/connections\/([^/]+)$/, ([id]) => (open.delete(id), null)],
  ['POST', /^\/cache\/(?:dns|fakeip)\/flush$/, () => null],
  ['GET', /^\/dns\/query$/, (_, __, query) => ({ Status: 0, Answer: [{ name: `${query.get('name')}.`, type: 1, TTL: 300, data: '93.184.216.34' }] })],
];

async function serve(request, response) {
  const url = new URL(request.url, 'http://fake');
  if (url.pathname.startsWith('/ui/')) return file(url.pathname.slice(4) || 'index.html', response);
  const answer = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(body === undefined ? '' : JSON.stringify(body));
  if (request.headers.authorization !== `Bearer ${SECRET}`) return answer(401, { message: 'Unauthorized' });
  let text = '';
  for await (const chunk of request) text += chunk;
  if (request.method !== 'GET') console.log(`${request.method} ${request.url} ${text}`);
  const segments = url.pathname;
  for (const [method, pattern, act] of ROUTES) {
    const match = request.method === method && pattern.exec(segments);
    if (!match) continue;
    const result = act(match.slice(1).map(decodeURIComponent), text ? JSON.parse(text) : {}, url.searchParams);
    return typeof result === 'number' ? answer(result, { message: 'Resource not found' }) : result === null ? answer(204) : answer(200, result);
  }
  answer(404, { message: 'Resource not found' });
}

async function file(name, response) {
  try {
    const body = await readFile(join(UI, normalize(`/${name}`)));
    response.writeHead(200, { 'Content-Type': TYPES[extname(name)] ?? 'text/plain', 'Content-Security-Policy': POLICY, 'Cache-Control': 'no-cache' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

/** A text frame of a server (RFC 6455 section 5.2): not masked, not fragmented. */
function frame(text) {
  const body = Buffer.from(text);
  const head = body.length < 126 ? Buffer.from([0x81, body.length]) : body.length < 65_536 ? Buffer.from([0x81, 126, 0, 0]) : Buffer.from([0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  if (head.length === 4) head.writeUInt16BE(body.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(body.length), 2);
  return Buffer.concat([head, body]);
}

const server = createServer(serve);
server.on('upgrade', (request, socket) => {
  const url = new URL(request.url, 'http://fake');
  const make = STREAMS[url.pathname];
  socket.on('error', () => {});
  if (!make || url.searchParams.get('token') !== SECRET) return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
  const key = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`);
  const tell = () => socket.writable && socket.write(frame(`${JSON.stringify(make())}\n`));
  const timer = setInterval(tell, url.pathname === '/logs' ? 100 : Number(url.searchParams.get('interval') ?? 1000));
  socket.on('close', () => clearInterval(timer));
  socket.on('data', (data) => (data[0] & 0x0f) === 8 && socket.end());
  tell();
});
server.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
