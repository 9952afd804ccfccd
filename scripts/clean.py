"""The same as `tlkeras clean`; see `tlkeras/commands/clean.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.clean import main

if __name__ == "__main__":
    run_main(main)
