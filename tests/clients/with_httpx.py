"""with_httpx.py PROXY CA URL...: httpx, all URLs in one client."""

import ssl
import sys

import httpx
from report import show

proxy, ca, *urls = sys.argv[1:]
with httpx.Client(proxy=proxy, verify=ssl.create_default_context(cafile=ca), timeout=60, trust_env=False) as client:
    for url in urls:
        show(client.get(url).raise_for_status().content)
