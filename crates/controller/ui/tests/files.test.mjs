// The files as they are served.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const files = readdirSync(root, { recursive: true }).filter((name) => /\.\w+$/.test(name) && !name.startsWith('tests'));
const read = (name) => readFileSync(join(root, name), 'utf8');
const sources = files.filter((name) => name.endsWith('.js'));
const code = sources.map(read).join('\n');
const languages = Object.fromEntries(['en', 'ru', 'zh'].map((name) => [name, JSON.parse(read(`i18n/${name}.json`))]));

test('every language has the same keys and the same values to fill in', () => {
  const holes = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
  for (const [name, words] of Object.entries(languages)) {
    assert.deepEqual(Object.keys(words).sort(), Object.keys(languages.en).sort(), name);
    for (const [key, text] of Object.entries(words)) {
      assert.ok(text.trim(), `${name}: ${key} is empty`);
      assert.deepEqual(holes(text), holes(languages.en[key]), `${name}: ${key}`);
    }
  }
});

test('every text that is asked for is there, and every text there is asked for', () => {
  const asked = [...code.matchAll(/\bt\(\s*'([^']+)'/g), ...read('index.html').matchAll(/data-t="([^"]+)"/g)].map(([, key]) => key);
  // Keys that are made of a prefix and a name, or chosen between two.
  const prefixes = [...code.matchAll(/\bt\(`([\w.]+)\$\{/g)].map(([, prefix]) => prefix);
  const chosen = [...code.matchAll(/'([\w.]+)'/g)].map(([, key]) => key);
  for (const key of asked) assert.ok(key in languages.en, `no text for ${key}`);
  for (const key of Object.keys(languages.en)) {
    assert.ok(asked.includes(key) || chosen.includes(key) || prefixes.some((prefix) => key.startsWith(prefix)), `${key} is never used`);
  }
});

test('text never becomes markup, and nothing is evaluated', () => {
  for (const word of ['innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(', 'new Function', 'DOMParser']) {
    assert.ok(!code.includes(word), word);
  }
});

test('the page obeys its policy: no inline script or style, nothing from elsewhere', () => {
  const page = read('index.html');
  assert.doesNotMatch(page, /<script(?![^>]*src=)|<style|\sstyle=|\son\w+=/);
  for (const name of files) {
    const addresses = read(name).match(/https?:\/\/[^\s"'`)]+/g) ?? [];
    const known = ['http://www.w3.org/2000/svg', 'https://www.gstatic.com/generate_204'];
    assert.deepEqual(addresses.filter((address) => !known.includes(address)), [], name);
  }
});

test('every import and every file of the page exists', () => {
  for (const name of sources) {
    for (const [, target] of read(name).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      assert.ok(files.includes(join(name, '..', target)), `${name}: ${target}`);
    }
  }
  for (const [, target] of read('index.html').matchAll(/(?:src|href)="([^"#]+)"/g)) assert.ok(files.includes(target), target);
});

test('all of it is at most 60 KiB compressed', (context) => {
  const sizes = files.map((name) => gzipSync(read(name), { level: 9 }).length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  context.diagnostic(`${files.length} files, ${(total / 1024).toFixed(1)} KiB compressed`);
  assert.ok(total <= 60 * 1024, `${total} bytes`);
});
