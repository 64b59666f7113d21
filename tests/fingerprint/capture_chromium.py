"""capture_chromium.py COUNT: first-connection ClientHellos of the system's Chromium, one per line in hex.

The first line is the browser's version. Nothing leaves the machine: the name is mapped to a listener on loopback.
"""

import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading

count = int(sys.argv[1])
NAME = "www.example.com"
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --remote-debugging-port=0""".split()

hellos: queue.Queue[bytes] = queue.Queue()
listener = socket.create_server(("127.0.0.1", 0), backlog=256)
port = listener.getsockname()[1]


def read_one(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(10)
        data = b""
        while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
            chunk = connection.recv(65536)
            if not chunk:
                return
            data += chunk
        hellos.put(data)


def accept() -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=read_one, args=(connection,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
version = subprocess.run(["chromium", "--version"], capture_output=True, text=True, check=True).stdout
print(version.split()[1], flush=True)
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    # Every request is a new connection, because the listener answers none of them.
    page = pathlib.Path(folder, "page.html")
    page.write_text(
        f"""<script>
        let n = 0;
        function next() {{
          if (n++ < {2 * count}) fetch('https://{NAME}:{port}/' + n, {{mode: 'no-cors'}}).catch(() => {{}}).finally(() => setTimeout(next, 0));
        }}
        for (let i = 0; i < 6; i++) next();
        </script>"""
    )
    browser = subprocess.Popen(
        ["chromium", *FLAGS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1", f"--user-data-dir={folder}/profile", page.as_uri()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A browser is many processes: a group of their own ends together.
        start_new_session=True,
    )
    try:
        for _ in range(count):
            print(hellos.get(timeout=60).hex())
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
