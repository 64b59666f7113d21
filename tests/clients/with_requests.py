"""with_requests.py PROXY CA URL...: requests, all URLs in one session."""

import sys

import requests
from report import show

proxy, ca, *urls = sys.argv[1:]
with requests.Session() as session:
    session.trust_env = False
    session.proxies = {"http": proxy, "https": proxy}
    session.verify = ca
    for url in urls:
        response = session.get(url, timeout=60)
        response.raise_for_status()
        show(response.content)
