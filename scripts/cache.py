"""The same as `tlkeras cache`; see `tlkeras/commands.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands import cache

if __name__ == "__main__":
    run_main(cache)
