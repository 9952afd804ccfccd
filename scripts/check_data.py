"""The same as `tlkeras check-data`; see `tlkeras/commands/check_data.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.check_data import main

if __name__ == "__main__":
    run_main(main)
