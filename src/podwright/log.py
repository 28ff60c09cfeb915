"""Log lines: where they go and what they look like.

Each line carries the id of the request it was written for. Text for people, JSON for machines; both to stderr, one
line an event.
"""

import contextvars
import json
import logging
import time
from typing import Literal

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
"""Set by the dispatcher for the time of a request; tasks started meanwhile inherit it."""


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        request = request_id.get()
        head = f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower():7}{f' [{request}]' if request else ''}"
        return f"{head} {record.getMessage()}{_traceback(self, record)}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() + _traceback(self, record),
        }
        if request_id.get():
            line["request"] = request_id.get()
        return json.dumps(line)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""


def setup(level: str, form: Literal["text", "json"]) -> None:
    """Sends the logs of the whole program to stderr. `level` is debug, info, warning or error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries
    logging.getLogger("podwright").setLevel(level.upper())
