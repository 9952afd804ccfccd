"""Predict the labels of images with a trained run."""

from typing import Any

from tlkeras.cli import CliParser
from tlkeras.errors import UserError


def make_parser() -> CliParser:
    """Return the parser of the command's options."""
    parser = CliParser(description=__doc__)
    run_help = "folder that scripts/train.py wrote"
    # [part: export]
    run_help += ", or scripts/export.py"
    # [/part]
    parser.add_argument("run", metavar="RUN", help=run_help)
    path_help = "files, folders of files, or patterns such as 'photos/*.jpg'"
    parser.add_argument("paths", metavar="PATH", nargs="*", help=path_help)
    # [part: text]
    parser.add_argument(
        "--text", action="append", type=str, default=[], metavar="TEXT",
        help="a text itself, for a run of texts; give --text again for another",
    )  # fmt: skip
    # [/part]
    top_help = "labels for each image, most likely first (default: 3)"
    parser.add_argument("--top-k", type=int, default=3, metavar="N", help=top_help)
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.add_argument(
        "--csv", action="store_true", help="print CSV with the columns path,rank,label,score,error,unsure"
    )
    # [part: drift]
    log_help = "add counts and features of these images, not the images, to a file for drift.py"
    parser.add_argument("--log", type=str | None, metavar="FILE", help=log_help)
    # [/part]
    # [part: batch]
    list_help = "text file with a path a line, '-' for standard input; with --output"
    parser.add_argument("--from-file", type=str | None, metavar="LIST", help=list_help)
    output_help = "append predictions to FILE.csv, or to the folder FILE.parquet, as they come"
    parser.add_argument("--output", type=str | None, metavar="FILE", help=output_help)
    parser.add_argument("--resume", action="store_true", help="continue --output after a stop")
    # [part: cluster]
    cluster_help = (
        "predict on a Ray cluster at HOST:PORT, or on N parts of this machine: local:N; needs 'pip install ray'"
    )
    parser.add_argument("--cluster", type=str | None, metavar="WHERE", help=cluster_help)
    # [/part]
    # [/part]
    return parser


def main() -> None:
    """Run the command."""
    options = make_parser().parse_args()
    # [part: drift]
    if options.log:
        from pathlib import Path

        from tlkeras.run.load_run import load_run
        from tlkeras.run.usage_log import UsageLog

        log = UsageLog(Path(options.log).expanduser(), load_run(options.run))
        try:
            answer(options, log.add)
        finally:
            log.save()  # after a stop, too: `--resume` does not predict again what is in the output
        return
    # [/part]
    answer(options)


def answer(options: Any, watch: Any = None) -> None:
    """Print predictions, or write them to a file; `watch` is told of them."""
    from tlkeras.run.load_run import load_run
    from tlkeras.run.predict import as_csv, as_json, as_table, predict

    write = as_json if options.json else as_csv if options.csv else as_table
    # [part: batch]
    if options.output:
        from tlkeras.run.predict_file import predict_command

        predict_command(options, watch)
        return
    if options.from_file or options.resume:
        raise UserError("--from-file and --resume need --output FILE.")
    # [part: cluster]
    if options.cluster:
        raise UserError("--cluster needs --output FILE.")
    # [/part]
    # [/part]
    predictions = predict(options.run, options.paths, options.top_k, options.as_dict().get("text", []), watch)
    print(write(predictions))
    if all(prediction.error for prediction in predictions):
        raise UserError(f"None of these {load_run(options.run).modality.plural} can be read. Give others.")
