"""A program that takes OTLP over HTTP and writes each request into a file: `collector.py PORT DIRECTORY`."""

import http.server
import sys
import time
from pathlib import Path


class Collector(http.server.BaseHTTPRequestHandler):
    """Answers any POST."""

    directory = Path()

    def do_POST(self) -> None:
        """Keeps the body."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = str(time.time_ns())
        (self.directory / f".{name}").write_bytes(body)
        (self.directory / f".{name}").rename(self.directory / name)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


if __name__ == "__main__":
    Collector.directory = Path(sys.argv[2])
    Collector.directory.mkdir()
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
