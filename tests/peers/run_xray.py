"""Runs the Xray of this virtual environment on one configuration file: run_xray.py CONFIG.json

Ends when standard input closes, so that a server shared by many tests goes away with the test process. The watching is
done by a child, because the library holds the interpreter for as long as it runs.
"""

import os
import select
import signal
import sys

import xray

server = os.getpid()
if os.fork() == 0:
    while os.getppid() == server:
        if select.select([sys.stdin], [], [], 1.0)[0] and not os.read(0, 4096):
            os.kill(server, signal.SIGKILL)
            break
    os._exit(0)

with open(sys.argv[1], encoding="utf-8") as config:
    text = config.read()
sys.exit(xray.startFromJSON(text))
