"""The same as `tlkeras summary`; see `tlkeras/commands.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands import summary

if __name__ == "__main__":
    run_main(summary)
