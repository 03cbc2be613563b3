"""Stands in for the programs of the embedded deployment: `python stand_in.py ROLE [ARGUMENTS]`.

It speaks as the real ones do towards their supervisor, and to nobody else; it needs no import of ours.
"""

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ready")


def option(name: str) -> str:
    return next(each.partition("=")[2] for each in sys.argv if each.startswith(f"--{name}="))


def main(role: str) -> int:
    match role:
        case "api":
            HTTPServer((option("host"), int(option("port"))), Ready).serve_forever()
        case "worker":
            # What is hard to get rid of: a child in a session of its own that ignores signals.
            subprocess.Popen([sys.executable, __file__, "stubborn", *sys.argv[2:]], start_new_session=True)
            threading.Event().wait()
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            threading.Event().wait()
        case "relay":
            print(os.environ["LETHE_BROKER_URL"], flush=True)
            threading.Event().wait()
        case "broken":
            print("No module named 'everything'", file=sys.stderr)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
