"""Print the backbone table, or the stages of one backbone with their weights."""

from tlkeras.options import SentenceParser, program
from tlkeras.run.summary import backbone_table, stage_table


def main() -> None:
    parser = SentenceParser(description=__doc__)
    parser.add_argument("backbone", nargs="?", default=None, help="a name from the table, to see its stages")
    options = parser.parse_args()
    print(stage_table(options.backbone) if options.backbone else backbone_table())


if __name__ == "__main__":
    program(main)
