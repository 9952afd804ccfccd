"""Where tlkeras keeps what may be wanted again: features, the digits, hub modules."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder of all that is kept between runs: `TLKERAS_CACHE`, or `tlkeras` in the user's cache folder."""
    named = os.environ.get("TLKERAS_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tlkeras"
