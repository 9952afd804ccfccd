"""The same as `tlkeras export`; see `tlkeras/commands/export.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.export import main

if __name__ == "__main__":
    run_main(main)
