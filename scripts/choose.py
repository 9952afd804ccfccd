"""The same as `tlkeras choose`; see `tlkeras/commands/choose.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.choose import main

if __name__ == "__main__":
    run_main(main)
