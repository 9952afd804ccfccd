"""The same as `tlkeras cache`; see `tlkeras/commands/cache.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.cache import main

if __name__ == "__main__":
    run_main(main)
