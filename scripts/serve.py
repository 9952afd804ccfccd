"""The same as `tlkeras serve`; see `tlkeras/commands/serve.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.serve import main

if __name__ == "__main__":
    run_main(main)
