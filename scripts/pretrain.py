"""The same as `tlkeras pretrain`; see `tlkeras/commands/pretrain.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.pretrain import main

if __name__ == "__main__":
    run_main(main)
