// Where the controller is, and how it is asked (Mihomo's REST API).

/** The controller said no: `status` is HTTP's, `message` its own words. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The controller did not answer at all. */
export class Unreachable extends Error {}

/** path`/proxies/${name}`: every value is one segment, whatever is in it. */
export function path(literals, ...values) {
  return String.raw({ raw: literals }, ...values.map(encodeURIComponent));
}

/**
 * What an address bar says: `?hostname=&port=&secret=`, before or behind the `#` as other dashboards write it. Without
 * them the controller is the one that served the page, below the same prefix if a reverse proxy added one.
 */
export function endpointOf(address) {
  const url = new URL(address);
  const behind = url.hash.indexOf('?');
  const given = new URLSearchParams(url.search);
  for (const [key, value] of new URLSearchParams(behind < 0 ? '' : url.hash.slice(behind + 1))) given.set(key, value);
  const prefix = url.pathname.replace(/(^|\/)ui(\/.*)?$/, '').replace(/\/$/, '');
  const host = given.get('hostname') || given.get('host');
  const port = given.get('port');
  const secret = given.get('secret');
  if (!host && !port) return { base: url.origin + prefix, secret };
  const bare = (host || url.hostname).replace(/^\[|\]$/g, '');
  const name = bare.includes(':') ? `[${bare}]` : bare;
  const elsewhere = new URL(`${url.protocol}//${name}${port ? `:${port}` : ''}`).origin;
  return { base: elsewhere === url.origin ? elsewhere + prefix : elsewhere, secret };
}

/** The address without a secret, so that it does not stay in histories and screenshots. */
export function withoutSecret(address) {
  const url = new URL(address);
  url.searchParams.delete('secret');
  const [route, query] = url.hash.split('?');
  if (query !== undefined) {
    const rest = new URLSearchParams(query);
    rest.delete('secret');
    url.hash = rest.size > 0 ? `${route}?${rest}` : route;
  }
  return url.href;
}

export class Api {
  constructor(base, secret = '') {
    this.base = base;
    this.secret = secret;
  }

  url(route, query = {}) {
    const url = new URL(this.base + route);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    return url.href;
  }

  /** Browsers cannot set headers on a WebSocket: the secret goes along as `token`. */
  socketUrl(route, query = {}) {
    const url = this.url(route, this.secret ? { ...query, token: this.secret } : query);
    return url.replace(/^http/, 'ws');
  }

  /** The answer's JSON, or null where there is none. Throws ApiError or Unreachable. */
  async request(method, route, { query, body, signal } = {}) {
    const headers = {};
    if (this.secret) headers.Authorization = `Bearer ${this.secret}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response;
    let text;
    try {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      response = await fetch(this.url(route, query), { method, headers, body: payload, signal, cache: 'no-store' });
      text = await response.text();
    } catch (error) {
      throw new Unreachable(error.message);
    }
    if (!response.ok) throw new ApiError(response.status, messageOf(text) || response.statusText || `${response.status}`);
    return text ? JSON.parse(text) : null;
  }

  get(route, query) {
    return this.request('GET', route, { query });
  }

  put(route, body, query) {
    return this.request('PUT', route, { body, query });
  }

  patch(route, body) {
    return this.request('PATCH', route, { body });
  }

  post(route, body) {
    return this.request('POST', route, { body });
  }

  delete(route) {
    return this.request('DELETE', route);
  }
}

function messageOf(text) {
  try {
    return JSON.parse(text).message;
  } catch {
    return text.trim().slice(0, 300);
  }
}
