"""Export a run's model for other programs, and compare it.

SavedModel for TensorFlow Serving, LiteRT for phones, ONNX and OpenVINO for servers. Nothing is written where the
artifact differs too much from the trained model.
"""

from tlkeras.cli import CliParser
from tlkeras.errors import UserError


def main() -> None:
    """Run the command."""
    from tlkeras.export.formats import FORMATS

    parser = CliParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote")
    parser.add_argument("--format", type=str, metavar="NAME", help=f"one of {', '.join(FORMATS)}")
    variants = "; ".join(f"{name}: {', '.join(one.variants)}" for name, one in FORMATS.items() if len(one.variants) > 1)
    variant_help = f"how numbers are stored, the first by default ({variants})"
    parser.add_argument("--variant", type=str | None, metavar="NAME", help=variant_help)
    output_help = "folder to write (default: RUN/export/FORMAT, or FORMAT-VARIANT)"
    parser.add_argument("--output", type=str | None, metavar="DIR", help=output_help)
    data_help = "data to compare on, with the run's classes (default: the run's validation split)"
    parser.add_argument("--data", type=str | None, metavar="TEXT", help=data_help)
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it is there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not options.format:
        raise UserError(f"Nothing was given for --format. Give one of {', '.join(FORMATS)}.")
    from tlkeras.run.export import as_json, as_text, export

    found = export(options.run, options.format, options.variant, options.output, options.data, options.overwrite)
    print((as_json if options.json else as_text)(*found))
