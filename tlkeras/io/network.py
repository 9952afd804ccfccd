"""Ask whether something can be downloaded before anything slow begins."""

import http.client
import urllib.request


def check_reachable(url: str, timeout: float = 5.0, method: str = "HEAD") -> None:
    """Ask a server for a URL, through the proxy that the environment names; an OSError says that it has no such file.

    Give "GET" for servers that do not answer "HEAD"; the content is not read. `timeout` is in seconds.
    """
    try:
        request = urllib.request.Request(url, method=method)
        urllib.request.urlopen(request, timeout=timeout).close()
    except (ValueError, http.client.HTTPException) as error:  # not a URL, or not an answer
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error
