"""Start a project of your own: a copy of this template with a name of its own, in a folder of its own."""

from pathlib import Path

from tlkeras.cli import CliParser, run_main
from tlkeras.run.new_project import DESCRIPTION, new_project


def main() -> None:
    parser = CliParser(description=__doc__)
    parser.add_argument("target", metavar="TARGET", help="folder for the project, empty or not there yet")
    parser.add_argument("--name", type=str | None, metavar="NAME", help="of the package (default: the folder's name)")
    parser.add_argument("--description", type=str, default=DESCRIPTION, metavar="TEXT", help="one line about it")
    for what, usual in (("scripts", " beyond train, evaluate, predict, summary and cache"), ("notebooks", "")):
        text = f"{what} that come along{usual}: all, none, or names joined by commas"
        parser.add_argument(f"--{what}", type=str, default="none", metavar="NAMES", help=text)
    options = parser.parse_args()
    arguments = (options.name, options.description, options.scripts, options.notebooks)
    print(new_project(Path(__file__).parents[1], Path(options.target), *arguments))


if __name__ == "__main__":
    run_main(main)
