"""What is special about commands on the pages: programs to be stopped, and commands not run.

A command that no pattern matches is run to its end and has to end well.  So a new command is
tested without a word here, and one that cannot be needs a reason.
"""

from typing import Final

from smallcaps_assets_tests.documents.reader import Left, Rules, Served

UI: Final = Served(path="/server_info")

RULES: Final[Rules] = {
    r"^make test$": Left("the suite that this test belongs to", shows=".venv/bin/pytest -n 2"),
    r"^make setup$": Left("this test runs in what it made", shows=""),
    r"^make (ui|dev)$": Left("test_ui_command serves it", shows=".venv/bin/smallcaps ui --port"),
    r"dagster dev|smallcaps ui": UI,
    r"smallcaps status --watch": Served(says="sessions done"),
    r"smallcaps emulator": Served(says="http://127.0.0.1:"),
}
