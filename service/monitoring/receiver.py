"""A receiver of alerts: what Alertmanager sends a webhook, as lines for a terminal.

14:02:11  firing    page    TeddyDown: Teddy does not answer (docs/runbooks.md#teddydown)
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ALIVE = "alive"
"""The receiver of the alert that always fires, which is no news."""

Notification = Mapping[str, Any]
"""Of one or more alerts that belong together, as Alertmanager's webhooks have it (version 4)."""


def lines_of(notification: Notification) -> Iterator[str]:
    """A line for each alert."""
    if notification["receiver"] == ALIVE:
        return
    time = datetime.now().astimezone().strftime("%H:%M:%S")
    for alert in notification["alerts"]:
        labels, said = alert["labels"], alert["annotations"]
        urgency = f"{time}  {alert['status']:<8}  {labels['severity']:<6}"
        yield f"{urgency}  {labels['alertname']}: {said['summary']} ({said['runbook_url']})"


@contextmanager
def receiving(tell: Callable[[Notification], None]) -> Iterator[str]:
    """Tell each notification that comes to the URL that is given, on a free port of this machine; from threads."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tell(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing of requests: what they bring is told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
