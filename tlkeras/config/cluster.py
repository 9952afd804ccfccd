"""Where work goes that is not done by this process alone."""

import re
from importlib.util import find_spec

from tlkeras.errors import UserError

LOCAL = re.compile(r"local:([1-9]\d*)")


def check_cluster(address: str | None) -> None:
    """Refuse what can be refused of `--cluster` before anything starts."""
    if address is None:
        return
    if find_spec("ray") is None:
        raise UserError("--cluster needs Ray, which is not installed: pip install ray.")
    host, _, port = address.rpartition(":")
    if not LOCAL.fullmatch(address) and not (host and host != "local" and port.isdecimal()):
        raise UserError(f"--cluster was {address}; give HOST:PORT, as ray start prints it, or local:N, as local:2.")
