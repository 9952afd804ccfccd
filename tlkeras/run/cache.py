"""What `scripts/cache.py` prints: the features that runs have kept on disk."""

import time

from tlkeras.features.cache import FeatureCache
from tlkeras.io.paths import cache_dir


def cache_table() -> str:
    """A line for each entry, those used last first, and their sum."""
    entries = FeatureCache(cache_dir(), 0).entries()
    if not entries:
        return f"{cache_dir()} holds no features."
    lines = [f"{'used':<16} {'MB':>9} {'pictures':>9} {'views':>5}  features"]
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        pictures, views = entry.key.get("pictures", ""), entry.key.get("views", "")
        lines.append(f"{used:<16} {entry.nbytes / 1e6:>9,.1f} {pictures:>9,} {views:>5}  {entry.key.get('features')}")
    lines.append(f"{len(entries)} entries, {sum(entry.nbytes for entry in entries) / 1e6:,.1f} MB in {cache_dir()}")
    return "\n".join(lines)


def clear_cache() -> str:
    """Remove all entries; says how much that was."""
    store = FeatureCache(cache_dir(), 0)
    entries = store.entries()
    store.clear()
    return (
        f"Removed {len(entries)} entries, {sum(entry.nbytes for entry in entries) / 1e6:,.1f} MB, from {store.folder}."
    )
