"""The same as `tlkeras compare`; see `tlkeras/commands/compare.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.compare import main

if __name__ == "__main__":
    run_main(main)
