// Snapshots of `/connections` become rows: what is new, what ended, how fast each one is; searched and sorted. No DOM and
// no clock in here: it runs in a worker, and in tests.

/** Ended connections are remembered up to this number, the latest first. */
export const CLOSED_LIMIT = 1000;

/** host:port, an IPv6 address in brackets. */
export function hostOf(metadata) {
  const host = metadata.host || metadata.sniffHost || metadata.destinationIP || '?';
  const name = host.includes(':') ? `[${host}]` : host;
  return metadata.destinationPort && metadata.destinationPort !== '0' ? `${name}:${metadata.destinationPort}` : name;
}

/** `rule → group → outbound`; the controller's list has the outbound first. */
export function pathOf({ rule, rulePayload, chains }) {
  const why = rulePayload ? `${rule}: ${rulePayload}` : rule;
  const way = [...(chains ?? [])].reverse();
  return (why ? [why, ...way] : way).join(' → ');
}

export class ConnectionBook {
  #live = new Map();
  #closed = [];
  #next = 1;
  #before = 0;
  #generation = 0;

  get liveCount() {
    return this.#live.size;
  }

  get closedCount() {
    return this.#closed.length;
  }

  /**
   * Takes a snapshot of time `now` (ms). Answers the rows that are new or read differently, and the keys that are
   * forgotten altogether.
   */
  apply(snapshot, now) {
    const seconds = this.#before > 0 ? Math.max(0.001, (now - this.#before) / 1000) : 0;
    this.#before = now;
    this.#generation += 1;
    const added = [];
    for (const raw of snapshot.connections ?? []) {
      let row = this.#live.get(raw.id);
      if (row === undefined) {
        row = { key: this.#next++, id: raw.id, upSpeed: 0, downSpeed: 0, closedAt: 0 };
        this.#live.set(raw.id, row);
        describe(row, raw);
        added.push(row);
      } else {
        if (seconds > 0) {
          row.upSpeed = Math.max(0, raw.upload - row.upload) / seconds;
          row.downSpeed = Math.max(0, raw.download - row.download) / seconds;
        }
        if (readsDifferently(row.raw, raw)) {
          describe(row, raw);
          added.push(row);
        }
      }
      row.raw = raw;
      row.upload = raw.upload;
      row.download = raw.download;
      row.generation = this.#generation;
    }
    return { added, dropped: this.#sweep(now) };
  }

  /** Time went by without snapshots: the next speeds would be wrong. */
  pause() {
    this.#before = 0;
  }

  /** Rows of one tab, searched and sorted. */
  select({ tab, query, column, descending }) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const all = tab === 'closed' ? this.#closed : [...this.#live.values()];
    const found = words.length > 0 ? all.filter((row) => words.every((word) => row.text.includes(word))) : [...all];
    return found.sort(comparator(column, descending));
  }

  /** Every row, for a reader that starts now. */
  all() {
    return [...this.#live.values(), ...this.#closed];
  }

  find(key) {
    return this.all().find((row) => row.key === key);
  }

  #sweep(now) {
    const ended = [];
    for (const [id, row] of this.#live) {
      if (row.generation === this.#generation) continue;
      this.#live.delete(id);
      row.closedAt = now;
      row.upSpeed = row.downSpeed = 0;
      ended.push(row);
    }
    if (ended.length === 0) return [];
    this.#closed = [...ended.reverse(), ...this.#closed];
    return this.#closed.splice(CLOSED_LIMIT).map((row) => row.key);
  }
}

/** A connection is listed before its rule is known, and before its first bytes tell a name. */
function readsDifferently(before, after) {
  return (
    before.rule !== after.rule ||
    before.chains?.length !== after.chains?.length ||
    before.chains?.[0] !== after.chains?.[0] ||
    before.metadata.host !== after.metadata.host ||
    before.metadata.sniffHost !== after.metadata.sniffHost ||
    before.metadata.process !== after.metadata.process
  );
}

function describe(row, raw) {
  const { metadata } = raw;
  row.host = hostOf(metadata);
  row.path = pathOf(raw);
  row.source = metadata.process || metadata.sourceIP || '';
  row.kind = `${(metadata.network ?? '').toUpperCase()} ${metadata.type ?? ''}`;
  row.start = Date.parse(raw.start) || 0;
  const { sourceIP, sourcePort, destinationIP, remoteDestination, inboundName, inboundUser, processPath } = metadata;
  const more = [`${sourceIP}:${sourcePort}`, destinationIP, remoteDestination, inboundName, inboundUser, processPath];
  row.text = [row.host, row.path, row.source, row.kind, ...more].join('\n').toLowerCase();
}

/** What each column sorts by; the rows' age sorts by when they began. */
const VALUES = {
  host: (row) => row.host,
  path: (row) => row.path,
  downSpeed: (row) => row.downSpeed,
  upSpeed: (row) => row.upSpeed,
  download: (row) => row.download,
  upload: (row) => row.upload,
  start: (row) => -row.start,
  source: (row) => row.source,
  kind: (row) => row.kind,
};

export const COLUMNS = Object.keys(VALUES);

/** Equal rows stay in the order they came in, whichever way the column runs. */
function comparator(column, descending) {
  const value = VALUES[column];
  const way = descending ? -1 : 1;
  return (left, right) => {
    const a = value(left);
    const b = value(right);
    return a < b ? -way : a > b ? way : left.key - right.key;
  };
}
