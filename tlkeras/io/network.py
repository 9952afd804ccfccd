"""Ask whether something can be downloaded before anything slow begins."""

import contextlib
import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from urllib.parse import urlsplit

MAX_HOSTS = 8


def check_reachable(url: str, timeout: float = 5.0, method: str = "HEAD") -> None:
    """Ask a server for a URL, through the proxy that the environment names; an OSError says that it has no such file.

    Give "GET" for servers that do not answer "HEAD"; the content is not read. `timeout` is in seconds.
    """
    try:
        request = urllib.request.Request(url, method=method)
        urllib.request.urlopen(request, timeout=timeout).close()
    except (ValueError, http.client.HTTPException) as error:  # not a URL, or not an answer
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error


def any_reachable(urls: Iterable[str], timeout: float = 5.0) -> bool:
    """Return whether one of the servers of some URLs answers, whatever it answers, within seconds.

    One URL of each host is asked, at the same time, for the first `MAX_HOSTS` hosts.
    """
    asked = list({urlsplit(url).netloc: url for url in urls}.values())[:MAX_HOSTS]
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            check_reachable(url, timeout)
            answers.put(True)
        except OSError as error:
            answers.put(isinstance(error, urllib.error.HTTPError))

    for url in asked:  # not a pool, which would wait for a look-up of names that hangs
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    end = time.monotonic() + timeout
    with contextlib.suppress(queue.Empty):
        return any(answers.get(timeout=max(0.0, end - time.monotonic())) for _ in asked)
    return False
