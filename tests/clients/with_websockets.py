"""with_websockets.py PROXY CA URL: three messages to an echo and back.

The asyncio client, not the one with threads: that one reads and writes one OpenSSL connection in two threads at once, and
without any proxy about one wss handshake in a thousand on a busy machine never gets its answer.
"""

import asyncio
import hashlib
import ssl
import sys

from websockets.asyncio.client import connect


async def main(proxy, ca, url):
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss://") else None
    async with connect(url, proxy=proxy, ssl=context, compression=None, max_size=None) as socket:
        for size in (1, 1_000, 300_000):
            message = hashlib.shake_128(b"message").digest(size)
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), 30) == message, size


asyncio.run(main(*sys.argv[1:]))
print("ok")
