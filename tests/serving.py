"""A web server on loopback that serves files and fails in the ways that networks do."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import threading
from collections import Counter
from collections.abc import Iterator

CONTENT = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2  # whole chunks


class Server(http.server.ThreadingHTTPServer):
    """Serves at ``/<mirror>/<file>`` as that file's script says, or the mirror's, its last word on.

    Words: ``ok``, a status, ``wrong`` (other bytes), ``truncated``, ``stalls`` (both at half),
    ``no range``, ``wrong range``, ``mute`` (no answer to HEAD).
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}  # by name; CONTENT for any other
        self.scripts: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str | None]] = []  # mirror and Range of each GET
        self.counts: Counter[str] = Counter()  # GETs by file
        self.over = threading.Event()
        self.lock = threading.Lock()

    def mirror(self, name: str, *script: str) -> str:
        self.scripts[name] = list(script)
        return f"http://127.0.0.1:{self.server_port}/{name}/"

    def next_act(self, mirror: str, file: str) -> str:
        script = self.scripts.get(f"{mirror}/{file}", self.scripts[mirror])
        return script.pop(0) if len(script) > 1 else script[0]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        if "mute" in self.server.scripts[self.path.split("/")[1]]:
            self.server.over.wait(10)
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        _, mirror, file = self.path.split("/", 2)
        asked = self.headers.get("Range")
        with self.server.lock:
            self.server.asked.append((mirror, asked))
            self.server.counts[file] += 1
            act = self.server.next_act(mirror, file)
        if act.isdigit():
            self.send_error(int(act))
            return
        content = self.server.files.get(file, CONTENT)
        body = content[::-1] if act == "wrong" else content
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and act != "no range" else 0
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if act == "wrong range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        broken = act in ("truncated", "stalls")
        with contextlib.suppress(OSError):  # the client may have left
            self.wfile.write(body[start : len(body) // 2 if broken else None])
            self.wfile.flush()
        if act == "stalls":
            self.server.over.wait(10)


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server in a thread, which ends with the block."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
