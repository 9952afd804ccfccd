"""The same as `tlkeras doctor`; see `tlkeras/commands/doctor.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.doctor import main

if __name__ == "__main__":
    run_main(main)
