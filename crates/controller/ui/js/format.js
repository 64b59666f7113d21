// Numbers as people read them, in the chosen language.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

let language = 'en';
let whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
let tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1, minimumFractionDigits: 1 });
let ago = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** Formatters are slow to make and fast to use: they are made once per language. */
export function speak(chosen) {
  language = chosen;
  whole = new Intl.NumberFormat(chosen, { maximumFractionDigits: 0 });
  tenths = new Intl.NumberFormat(chosen, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
  ago = new Intl.RelativeTimeFormat(chosen, { numeric: 'auto' });
}

export function count(number) {
  return whole.format(number);
}

export function bytes(number) {
  let value = number;
  let unit = 0;
  // 1023.5 KiB would read "1,024 KiB".
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? whole.format(value) : tenths.format(value)} ${UNITS[unit]}`;
}

export function rate(bytesPerSecond) {
  return `${bytes(bytesPerSecond)}/s`;
}

/** 0:07, 12:45, 3:12:45, 2d 03:12. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  if (hours >= 24) return `${Math.floor(hours / 24)}d ${two(hours % 24)}:${two(minutes)}`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(seconds % 60)}`;
  return `${minutes}:${two(seconds % 60)}`;
}

const SPANS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/** "5 minutes ago", "in 3 days". */
export function age(time, now = Date.now()) {
  const seconds = Math.round((time - now) / 1000);
  const [unit, size] = SPANS.find(([, size]) => Math.abs(seconds) >= size) ?? SPANS[3];
  return ago.format(Math.trunc(seconds / size), unit);
}

/** Mihomo writes the year 1 or 1970 for "never". */
export function timeOf(text) {
  const time = Date.parse(text);
  return Number.isNaN(time) || time <= 0 ? null : time;
}

export function moment(time) {
  return new Date(time).toLocaleString(language);
}

export function clock(time) {
  return new Date(time).toLocaleTimeString(language, { hour12: false });
}

/** A delay's colour, by name: '' untested, 'bad' failed or slow, 'fair', 'good'. */
export function delayClass(delay) {
  if (delay === null) return '';
  if (delay === 0 || delay >= 600) return 'bad';
  return delay >= 250 ? 'fair' : 'good';
}
