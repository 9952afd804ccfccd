"""Files: where they are kept, how they are written, hashed, locked and checked."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder of what is kept: `TLKERAS_CACHE`, or `tlkeras` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tlkeras"
    return Path(os.environ.get("TLKERAS_CACHE") or default)
