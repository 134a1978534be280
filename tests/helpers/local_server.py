"""A file server on this machine, for tests of downloads."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Collection, Iterator, Mapping


class LocalServer:
    """What was asked of the server, as (name, first byte), and where its files are."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, int]] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def serve(
    files: Mapping[str, bytes], breaks: Collection[str] = (), ranges: bool = True
) -> Iterator[LocalServer]:
    """Serve `files`; the first answer for each name in `breaks` stops half-way."""
    fragile = set(breaks)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            server.asked.append((name, start))
            if name not in files:
                self.send_error(404)
                return
            start = start if ranges else 0
            body = files[name][start:]
            if start and not body:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if name in fragile:
                fragile.remove(name)
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep quiet."""

    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = LocalServer(http_server.server_port)
    threading.Thread(target=http_server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        http_server.shutdown()
        http_server.server_close()
