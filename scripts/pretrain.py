"""The same as `tlkeras pretrain`; see `tlkeras/commands.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands import pretrain

if __name__ == "__main__":
    run_main(pretrain)
