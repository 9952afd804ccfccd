"""Print the backbone table, or the stages of a backbone or of a trained run's model with their parameter counts."""

from tlkeras.cli import run_main
from tlkeras.cli import CliParser
from tlkeras.run.summary import backbone_table, stage_table


def main() -> None:
    parser = CliParser(description=__doc__)
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        default=None,
        help="a backbone from the table, hub:HANDLE, kerashub:PRESET, a folder that scripts/train.py wrote, or a "
        ".keras file from it",
    )
    options = parser.parse_args()
    print(stage_table(options.name) if options.name else backbone_table())


if __name__ == "__main__":
    run_main(main)
