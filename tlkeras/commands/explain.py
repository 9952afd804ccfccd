"""Show what the model of a run looked at: for each image a PNG with the map of its class over it."""

from pathlib import Path

from tlkeras.cli import CliParser, output_folder
from tlkeras.errors import UserError


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote")
    path_help = "files, folders of files, or patterns such as 'photos/*.jpg'"
    parser.add_argument("paths", metavar="PATH", nargs="+", help=path_help)
    method_help = "how maps are made (default: grad-cam); occlusion works for every image model and is slower"
    parser.add_argument(
        "--method", choices=["grad-cam", "grad-cam++", "occlusion"], default="grad-cam", help=method_help
    )
    class_help = "the class to explain (default: the most likely one of each image)"
    parser.add_argument("--class", dest="class_name", type=str, metavar="NAME", help=class_help)
    output_help = "folder for the PNG files (default: RUN/explanations)"
    parser.add_argument("--output", type=str, metavar="DIR", help=output_help)
    check_help = "measure whether the maps can be trusted, by up to 32 of the images"
    parser.add_argument("--check", action="store_true", help=check_help)
    options = parser.parse_args()
    from tlkeras.run.explain import CHUNK, Explanation, check_maps, explain_each, write_png
    from tlkeras.run.load_run import load_trained_run

    run = load_trained_run(options.run)
    folder = output_folder(options.output or str(run.path / "explanations"))
    explained: list[Explanation] = []
    written = 0
    for number, one in enumerate(explain_each(run, options.paths, options.method, options.class_name), start=1):
        if one.error:
            print(f"{one.path}  unreadable: {one.error}")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:04}_{Path(one.path).stem}_{options.method}.png"
        write_png(one, path)
        written += 1
        explained += [one][: CHUNK - len(explained)]
        print(f"{one.path}  {one.label} {one.score:.3f}  {path.name}")
    if not written:
        raise UserError(f"None of these {run.modality.plural} can be read. Give others.")
    print(f"Maps: {folder}")
    if options.check:
        print(check_maps(run, explained, options.method))
