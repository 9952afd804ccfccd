"""The same as `tlkeras summary`; see `tlkeras/commands/summary.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.summary import main

if __name__ == "__main__":
    run_main(main)
