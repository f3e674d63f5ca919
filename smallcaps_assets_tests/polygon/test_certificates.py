"""Certificates: which are trusted, and what a fault of one is called."""

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from smallcaps_assets.errors import CertificateError, VendorUnavailableError
from smallcaps_assets_tests.polygon.polygon_factories import (
    GTE_NS,
    LT_NS,
    make_client,
    make_wire_trades,
    render_page,
    serve,
)

FOLDER: Final = Path(__file__).parent / "tls"
CERTIFICATE: Final = FOLDER / "certificate.pem"
VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
BODY: Final = render_page(make_wire_trades(3))


class Handler(BaseHTTPRequestHandler):
    """Answers with one page of trades."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve over TLS with a certificate that signs itself."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, FOLDER / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def count_trades(url: str) -> int:
    with make_client(url) as client:
        return client.fetch_trades("ABCD", GTE_NS, LT_NS).trades.height


@pytest.mark.parametrize("name", VARIABLES)
def test_a_file_of_certificates_is_trusted_whichever_variable_names_it(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L52: ``SSL_CERT_FILE`` was ignored, and to this machine the others were."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, str(CERTIFICATE))

    assert count_trades(url) == 3


def test_one_variable_does_not_hide_the_other(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """L52: a machine may set one for all programs, and its user the other for this one."""
    certifi = pytest.importorskip("certifi")
    for name in VARIABLES[1:]:
        monkeypatch.setenv(name, certifi.where())
    monkeypatch.setenv(VARIABLES[0], str(CERTIFICATE))

    assert count_trades(url) == 3


@pytest.mark.parametrize("bundle", ["", "missing.pem", "empty.pem"])
def test_a_certificate_fault_is_called_one_and_not_asked_again(
    url: str, tmp_path: Path, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L52: it was called a fault of the network, and asked again to the end of the patience."""
    (tmp_path / "empty.pem").write_text("nothing")
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    if bundle:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / bundle))

    with pytest.raises(CertificateError, match="set SSL_CERT_FILE or REQUESTS_CA_BUNDLE") as caught:
        count_trades(url)

    assert (caught.value.kind, caught.value.requests) == ("certificate", 1)


def test_what_speaks_no_tls_is_no_certificate_fault() -> None:
    with serve([]) as server, pytest.raises(VendorUnavailableError, match="no answer"):
        count_trades(server.url.replace("http:", "https:"))
