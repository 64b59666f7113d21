"""with_websockets.py PROXY CA URL: three messages to an echo and back."""

import hashlib
import ssl
import sys

from websockets.sync.client import connect

proxy, ca, url = sys.argv[1:]
context = ssl.create_default_context(cafile=ca) if url.startswith("wss://") else None
with connect(url, proxy=proxy, ssl=context, compression=None, max_size=None) as socket:
    for size in (1, 1_000, 300_000):
        message = hashlib.shake_128(b"message").digest(size)
        socket.send(message)
        assert socket.recv(timeout=30) == message, size
print("ok")
