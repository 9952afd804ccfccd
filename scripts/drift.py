"""The same as `tlkeras drift`; see `tlkeras/commands/drift.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.drift import main

if __name__ == "__main__":
    run_main(main)
