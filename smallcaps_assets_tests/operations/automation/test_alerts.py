"""Alerts against a webhook that answers well, slowly, badly or not at all."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.operations.automation.alerts import Alert, send_alert
from smallcaps_assets_tests.lakehouse_factories import NOW, make_settings

SECRET: Final = "/hooks/T0KEN-of-the-webhook"
ALERT: Final = Alert(NOW, "download_missing", "0123456789abcdef", "FAILURE", "3 failed (3 timeout)")


class Webhook(http.server.ThreadingHTTPServer):
    """A service that takes webhooks.

    Attributes:
        received: Paths and bodies, in the order of arrival.
        status: What it answers.
        pause_s: How long it waits before that.
    """

    def __init__(self, status: int, pause_s: float) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.status = status
        self.pause_s = pause_s

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{SECRET}"


class Receiver(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        time.sleep(self.server.pause_s)
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(status: int = 200, pause_s: float = 0.0) -> Iterator[Webhook]:
    with Webhook(status, pause_s) as webhook:
        thread = threading.Thread(target=webhook.serve_forever)
        thread.start()
        yield webhook
        webhook.shutdown()
        thread.join()


def send(folder: Path, **settings: object) -> list[str]:
    found = make_settings(folder / "data", "http://127.0.0.1:9", **settings)
    return send_alert(
        ALERT, FileSystem(), found.alert_log, found.alert_webhook, found.alert_timeout_s
    )


def test_an_alert_is_a_line_of_the_log_and_a_post(tmp_path: Path) -> None:
    log = tmp_path / "alerts.jsonl"

    with serving() as webhook:
        first, said = (send(tmp_path, alert_log=log, alert_webhook=webhook.url) for _ in "12")

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    ((path, body), _) = webhook.received
    assert first == said == ["log: sent", "webhook: sent"]
    assert [line["message"] for line in lines] == ["3 failed (3 timeout)"] * 2
    assert path == SECRET
    assert body["text"] == (
        "smallcaps: download_missing FAILURE (run 01234567): 3 failed (3 timeout)"
    )


@pytest.mark.parametrize(
    ("status", "pause_s", "problem"),
    [(500, 0.0, "status 500"), (302, 0.0, "status 302"), (200, 1.0, "ReadTimeout")],
)
def test_a_webhook_that_fails_is_told_and_nothing_else(
    tmp_path: Path, status: int, pause_s: float, problem: str
) -> None:
    with serving(status, pause_s) as webhook:
        said = send(tmp_path, alert_webhook=webhook.url, alert_timeout_s=0.3)

    assert said == [f"webhook: {problem}"]
    assert len(webhook.received) == 1


def test_a_webhook_that_is_not_there_keeps_its_address_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """L14: who knows the address can post in one's name."""
    said = send(tmp_path, alert_webhook=f"http://127.0.0.1:9{SECRET}")

    assert said == ["webhook: ConnectionError"]
    assert "alert not sent" in caplog.text
    assert SECRET not in caplog.text


def test_a_log_that_cannot_be_written_keeps_no_webhook_waiting(tmp_path: Path) -> None:
    with serving() as webhook:
        said = send(tmp_path, alert_log=tmp_path / "absent" / "log", alert_webhook=webhook.url)

    assert said[0].startswith("log: ")
    assert said[1] == "webhook: sent"


def test_nobody_is_told_by_default(tmp_path: Path) -> None:
    assert send(tmp_path) == []


def test_settings_do_not_show_the_webhook(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "http://127.0.0.1:9", alert_webhook=f"http://x{SECRET}")

    assert SECRET not in repr(settings)
