// with_fetch.mjs URL...: Node's own fetch. NODE_USE_ENV_PROXY=1 makes it read HTTP_PROXY and HTTPS_PROXY.
import { createHash } from 'node:crypto';

for (const url of process.argv.slice(2)) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const body = Buffer.from(await response.arrayBuffer());
  console.log(body.length, createHash('sha256').update(body).digest('hex'));
}
