"""Whether a server answers: at once, and through the proxy of the environment."""

import http.server
import threading
import urllib.error
import urllib.request

import pytest

from tlkeras.io.network import check_reachable


@pytest.fixture
def server(monkeypatch):
    """A server that knows `/file`, and notes what it is asked."""
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked.append(f"{self.command} {self.path}")
            self.send_response(200 if self.path.endswith("/file") else 404)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.asked, served.url = [], f"http://127.0.0.1:{served.server_port}"
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_that_is_there(server, method):
    check_reachable(f"{server.url}/file", method=method)
    assert server.asked == [f"{method} /file"]


def test_a_file_that_is_not_there(server):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        check_reachable(f"{server.url}/other")


@pytest.mark.parametrize("url", ["no url", "http://", "nothing://host/file", "http://a b/", "http://127.0.0.1:9/"])
def test_what_cannot_be_had_is_an_os_error(server, url):
    with pytest.raises(OSError):
        check_reachable(url)


def test_the_proxy_is_asked(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    check_reachable("http://nowhere.invalid/file")
    assert server.asked == ["HEAD http://nowhere.invalid/file"]
