"""The same as `tlkeras train`; see `tlkeras/commands.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands import train

if __name__ == "__main__":
    run_main(train)
