"""The commands, functions that read the command line: `tlkeras NAME` and `scripts/NAME.py` are the same."""

import json
import sys

from tlkeras.cli import CliParser, parse_config, run_main
from tlkeras.errors import UserError, unknown


def train() -> None:
    """Train a classifier on your own images: a pretrained backbone, a new head, two phases."""
    from tlkeras.config.train import TrainConfig

    config = parse_config(TrainConfig, COMMANDS["train"].__doc__)
    from tlkeras.run.train import train

    train(config)


def evaluate() -> None:
    """Evaluate a trained run: accuracy with its confidence interval and count, and the metrics of each class."""
    parser = CliParser(description=COMMANDS["evaluate"].__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote")
    parser.add_argument(
        "--data", type=str | None, metavar="TEXT",
        help="data as for training, with some of the run's classes (default: the run's test split)",
    )  # fmt: skip
    parser.add_argument(
        "--data-dir", type=str | None, metavar="TEXT",
        help="where TensorFlow Datasets keeps its datasets, if elsewhere now",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="examples per step")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    from tlkeras.run.evaluate import evaluate
    from tlkeras.run.load_run import load_run

    metrics = evaluate(options.run, options.data, options.batch_size, options.data_dir)
    if options.json:
        print(json.dumps(metrics, indent=2, ensure_ascii=False))
        return
    from tlkeras.evaluation.metrics import class_table, format_metrics

    plural = load_run(options.run).modality.plural
    for split, values in metrics.items():
        print(f"{split.capitalize()}: {format_metrics(values, plural)}")
        if "classes" in values:
            print(class_table(values["classes"]))


def predict() -> None:
    """Predict the labels of images with a trained run."""
    parser = CliParser(description=COMMANDS["predict"].__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote")
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="files, folders of files, or patterns such as 'photos/*.jpg'"
    )
    # [part: text]
    parser.add_argument(
        "--text", action="append", type=str, default=[], metavar="TEXT",
        help="a text itself, for a run of texts; give --text again for another",
    )  # fmt: skip
    # [/part]
    parser.add_argument("--top-k", type=int, default=3, metavar="N", help="labels for each image, most likely first")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.add_argument("--csv", action="store_true", help="print CSV with the columns path,rank,label,score,error")
    options = parser.parse_args()
    from tlkeras.run.load_run import load_run
    from tlkeras.run.predict import as_csv, as_json, as_table, predict

    write = as_json if options.json else as_csv if options.csv else as_table
    predictions = predict(options.run, options.paths, options.top_k, options.as_dict().get("text", []))
    print(write(predictions))
    if all(prediction.error for prediction in predictions):
        raise UserError(f"None of these {load_run(options.run).modality.plural} can be read. Give others.")


def summary() -> None:
    """Print the backbone table, or the stages of a backbone or of a trained run: layers and parameter counts."""
    parser = CliParser(description=COMMANDS["summary"].__doc__)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default=None,
        help="a backbone's name, a folder that scripts/train.py wrote, or a .keras file from it",
    )  # fmt: skip
    options = parser.parse_args()
    from tlkeras.run.summary import backbone_table, stage_table

    print(stage_table(options.name) if options.name else backbone_table())


# [part: feature-cache]
def cache() -> None:
    """List the features that runs have cached on disk for the next run, or remove them."""
    parser = CliParser(description=COMMANDS["cache"].__doc__)
    parser.add_argument("--clear", action="store_true", help="remove all of them")
    options = parser.parse_args()
    from tlkeras.run.cache import cache_table, clear_cache

    print(clear_cache() if options.clear else cache_table())


# [/part]
# [part: pretrain]
def pretrain() -> None:
    """Train all layers of a backbone, from scratch or from other weights: the result is a weight file and a run."""
    from tlkeras.config.pretrain import PretrainConfig

    config = parse_config(PretrainConfig, COMMANDS["pretrain"].__doc__)
    from tlkeras.run.pretrain import pretrain

    pretrain(config)


# [/part]
# [part: learning-curve]
def learning_curve() -> None:
    """Measure a learning curve on your own images: pretrained against random weights at several training set sizes."""
    from tlkeras.config.learning_curve import LearningCurveConfig

    config = parse_config(LearningCurveConfig, COMMANDS["learning-curve"].__doc__)
    from tlkeras.run.learning_curve import learning_curve

    learning_curve(config)


# [/part]
COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "summary": summary,
    # [part: feature-cache]
    "cache": cache,
    # [/part]
    # [part: pretrain]
    "pretrain": pretrain,
    # [/part]
    # [part: learning-curve]
    "learning-curve": learning_curve,
    # [/part]
}


def main() -> None:
    """Run `tlkeras COMMAND …`."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        lines = [f"  {command:<15} {(text.__doc__ or '').partition(':')[0]}" for command, text in COMMANDS.items()]
        print("\n".join(["usage: tlkeras COMMAND [OPTION VALUE]...\n", "commands:", *lines]))
        print("\nThe options of a command: tlkeras COMMAND --help")
        return
    sys.argv = [f"tlkeras {name}", *sys.argv[2:]]
    run_main(COMMANDS.get(name) or (lambda: refuse(name)))


def refuse(name: str) -> None:
    """Refuse an unknown command.

    Raises:
        UserError: always.
    """
    raise UserError(unknown("command", name, name, list(COMMANDS)))


if __name__ == "__main__":
    main()
