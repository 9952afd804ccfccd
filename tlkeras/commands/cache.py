"""List or remove the features that runs have cached on disk: the next run reads them."""

import time

from tlkeras.cli import CliParser
from tlkeras.features.cache import FeatureCache
from tlkeras.io import cache_dir


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("--clear", action="store_true", help="remove all of them")
    print(cache_table(parser.parse_args().clear))


def cache_table(clear: bool) -> str:
    """Return a line for each entry, the most recently used ones first, and their sum; or remove them all."""
    cache = FeatureCache(cache_dir(), 0)
    entries = cache.entries()
    total = f"{len(entries)} entries, {sum(entry.nbytes for entry in entries) / 1e6:,.1f} MB"
    if clear:
        cache.clear()
        return f"Removed {total} from {cache.folder}."
    if not entries:
        return f"{cache.folder} holds no features."
    width = max(len("data"), *(len(entry.data) for entry in entries))
    lines = [f"{'used':<16} {'MB':>8} {'examples':>8} {'views':>5} {'data':<{width}} features"]
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        examples, views = entry.key.get("examples", 0), entry.key.get("views", 0)
        counts = f"{entry.nbytes / 1e6:>8,.1f} {examples:>8,} {views:>5}"
        lines.append(f"{used:<16} {counts} {entry.data or '-':<{width}} {entry.key.get('features')}")
    return "\n".join([*lines, f"{total} in {cache.folder}"])
