"""with_aiohttp.py PROXY CA URL...: aiohttp's own proxy support for http://, aiohttp-socks for the rest; all URLs at once."""

import asyncio
import ssl
import sys

import aiohttp
from aiohttp_socks import ProxyConnector
from report import show

proxy, ca, *urls = sys.argv[1:]


async def main() -> None:
    context = ssl.create_default_context(cafile=ca)
    own = proxy.startswith("http://")
    connector = aiohttp.TCPConnector(ssl=context) if own else ProxyConnector.from_url(proxy, ssl=context)

    async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.get(url, proxy=proxy if own else None) as response:
            response.raise_for_status()
            return await response.read()

    async with aiohttp.ClientSession(connector=connector) as session:
        for body in await asyncio.gather(*(fetch(session, url) for url in urls)):
            show(body)


asyncio.run(main())
