"""What `scripts/cache.py` prints: the features that runs have kept on disk."""

import time
from collections.abc import Sequence

from tlkeras.features.cache import Entry, FeatureCache
from tlkeras.io import cache_dir


def cache_table() -> str:
    """Return a line for each entry, the most recently used ones first, and their sum."""
    entries = FeatureCache(cache_dir(), 0).entries()
    if not entries:
        return f"{cache_dir()} holds no features."
    lines = [f"{'used':<16} {'MB':>9} {'examples':>9} {'views':>5}  features"]
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        examples, views = entry.key.get("examples", 0), entry.key.get("views", 0)
        lines.append(f"{used:<16} {entry.nbytes / 1e6:>9,.1f} {examples:>9,} {views:>5}  {entry.key.get('features')}")
    return "\n".join([*lines, f"{total(entries)} in {cache_dir()}"])


def clear_cache() -> str:
    """Remove all entries, and return how many that were."""
    cache = FeatureCache(cache_dir(), 0)
    entries = cache.entries()
    cache.clear()
    return f"Removed {total(entries)} from {cache.folder}."


def total(entries: Sequence[Entry]) -> str:
    """Return the number and size of entries."""
    return f"{len(entries)} entries, {sum(entry.nbytes for entry in entries) / 1e6:,.1f} MB"
