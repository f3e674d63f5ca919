"""Alerts: one line in a log file, one message to a webhook, or both.

What belongs here: what an alert says and how it leaves the machine.  What does not: which runs are
worth one (``defs``).  An alert never raises: what it is about is bad enough.
"""

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import requests
from pydantic import SecretStr

from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.storage.files import FileSystem

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
MESSAGE_LENGTH: Final = 1_500
"""Characters of a message; the services that take webhooks refuse long ones."""


class Alert(msgspec.Struct, frozen=True):
    """What happened.

    Attributes:
        at: When the alert was made.
        job: Name of the job.
        run_id: Id of the run.
        status: How it ended, `FAILURE`.
        message: Why, in our own words.
    """

    at: dt.datetime
    job: str
    run_id: str
    status: str
    message: str

    @property
    def text(self) -> str:
        """The alert as one line for a person."""
        return f"smallcaps: {self.job} {self.status} (run {self.run_id[:8]}): {self.message}"


def send_alert(
    alert: Alert, fs: FileSystem, log: Path | None, webhook: SecretStr | None, timeout_s: float
) -> list[str]:
    """Send an alert to a log file and a webhook, and tell what became of it, a line each."""
    done = []
    if log is not None:
        done.append(_report("log", lambda: _append(fs, log.absolute(), alert)))
    if webhook is not None:
        url = webhook.get_secret_value()
        done.append(_report("webhook", lambda: _post(url, alert, timeout_s)))
    return done


def _report(name: str, send: Callable[[], str]) -> str:
    """Try one way and tell its outcome, never with the address of a webhook: it is a secret."""
    problem = send()
    if problem:
        logger.warning("alert not sent way=%s problem=%s", name, problem)
    return f"{name}: {problem or 'sent'}"


def _append(fs: FileSystem, path: Path, alert: Alert) -> str:
    try:
        fs.append(path, msgspec.json.encode(alert) + b"\n")
    except StorageError as error:
        return str(error)
    return ""


def _post(url: str, alert: Alert, timeout_s: float) -> str:
    """Post an alert as JSON; Slack and its like read ``text``, Discord reads ``content``."""
    text = alert.text[:MESSAGE_LENGTH]
    fields = msgspec.to_builtins(alert) | {"text": text, "content": text}
    try:
        with requests.post(
            url,
            json=fields,
            timeout=(min(CONNECT_TIMEOUT_S, timeout_s), timeout_s),
            allow_redirects=False,
            auth=_send_as_it_is,
            stream=True,  # nobody reads the answer, however long it is
        ) as answer:
            return "" if answer.ok and not answer.is_redirect else f"status {answer.status_code}"
    except (requests.RequestException, ValueError) as error:
        # The text of these errors holds the address.
        return type(error).__name__


def _send_as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from adding what it finds in ``.netrc``."""
    return request
