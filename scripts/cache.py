"""List the features that runs have kept on disk for the next run, or remove them."""

from tlkeras.cli import CliParser, run_main
from tlkeras.run.cache import cache_table, clear_cache


def main() -> None:
    parser = CliParser(description=__doc__)
    parser.add_argument("--clear", action="store_true", help="remove all of them")
    options = parser.parse_args()
    print(clear_cache() if options.clear else cache_table())


if __name__ == "__main__":
    run_main(main)
