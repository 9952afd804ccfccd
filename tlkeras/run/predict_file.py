"""Predictions of very many files, appended to a file as they come, and resumed after a stop."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tlkeras.errors import UserError
from tlkeras.io.atomic import flush, write_atomic
from tlkeras.io.locks import locked
from tlkeras.progress import progress
from tlkeras.run.load_run import Run, load_run
from tlkeras.run.predict import (
    CHUNK,
    Prediction,
    Source,
    Watch,
    as_csv,
    check_top_k,
    csv_rows,
    list_inputs,
    predict_chunk,
)
from tlkeras.run.predictor import load_predictor

Chunk = Sequence[Source]


def size_of(output: Path) -> int:
    """Return the bytes of a CSV file, or how many Parquet files a folder has; 0 where there is nothing."""
    if output.is_dir():
        return len(list(output.glob("part-*.parquet")))
    return output.stat().st_size if output.exists() else 0


def read_list(name: str) -> Iterator[Source]:
    """Yield the paths in a text file, one a line, as they are read; "-" is standard input. Empty lines are left out."""
    try:
        with sys.stdin if name == "-" else Path(name).expanduser().open(encoding="utf-8") as lines:
            for line in map(str.strip, lines):
                if line:
                    yield Source(line, Path(os.path.expanduser(line)))  # noqa: PTH111, as it takes ~ of nobody for a name
    except (OSError, UnicodeDecodeError) as error:
        reason = "not a text file in UTF-8" if isinstance(error, ValueError) else str(error.strerror).lower()
        raise UserError(f"--from-file {name} cannot be read: {reason}. Give a text file with a path a line.") from None


def predict_to_file(
    run_path: str | Path, sources: Iterable[Source], output: Path, top_k: int = 3, resume: bool = False,
    watch: Watch | None = None, cluster: str | None = None,
) -> tuple[int, int]:  # fmt: skip
    """Write predictions to a `.csv` file, or to a folder `.parquet` of files, and return the counts of all and damaged.

    Only 256 decoded examples are in memory. What is written is on the disk before the next ones are predicted, and a
    hidden file beside says how much that is: `resume` continues there, whatever ended the program before.

    Raises:
        UserError: the output is there and nothing is to be resumed, or it was started with other files or options.
    """
    check_top_k(top_k)
    if output.suffix not in (".csv", ".parquet"):
        raise UserError(f"--output was {output}; give a name that ends in .csv or .parquet.")
    append = _append_csv if output.suffix == ".csv" else _append_parquet()
    progress_file = output.with_name(f".{output.name}.progress")
    if output.exists() and not (resume and progress_file.exists()):
        advice = f" and cannot be resumed without {progress_file.name}" if resume else ""
        raise UserError(f"--output {output} exists already{advice}. Give another name, or --resume to continue it.")
    with locked(output.with_name(f".{output.name}.lock"), str(output), "another --output"), _resumable(output):
        run = load_run(run_path)
        digest = hashlib.sha256(f"{run.path.resolve()} {top_k}".encode())
        state: dict[str, Any] = {"count": 0, "damaged": 0, "size": 0, "digest": digest.hexdigest()}
        if resume and progress_file.exists():
            state = json.loads(progress_file.read_text(encoding="utf-8"))
            if size_of(output) < state["size"]:
                raise UserError(f"{output} has less than {progress_file.name} says was written. Put it back to resume, "
                                "or remove that file to start over.")  # fmt: skip
        remaining = _skip(iter(sources), state, digest, output)
        write_atomic(progress_file, json.dumps(state))
        chunks = iter(lambda: list(islice(remaining, CHUNK)), [])
        with progress(0, f"Predicting {run.modality.plural}") as bar:
            for chunk, predictions in _predict_chunks(run, chunks, top_k, watch, cluster):
                digest.update("".join(f"{source.name}\0" for source in chunk).encode(errors="surrogateescape"))
                state = {
                    "size": append(output, predictions, state),
                    "count": state["count"] + len(chunk),
                    "damaged": state["damaged"] + sum(one.error is not None for one in predictions),
                    "digest": digest.hexdigest(),
                }
                write_atomic(progress_file, json.dumps(state))
                bar.update(len(chunk))
    return state["count"], state["damaged"]


@contextlib.contextmanager
def _resumable(output: Path) -> Iterator[None]:
    """Say how to continue after a stop, where something was written."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if not output.exists():
            raise
        raise type(stop)(f"{output} has what was predicted; the same command with --resume continues.") from None


def _predict_chunks(
    run: Run, chunks: Iterable[Chunk], top_k: int, watch: Watch | None, cluster: str | None
) -> Iterator[tuple[Chunk, list[Prediction]]]:
    """Return each chunk with its predictions."""
    # [part: cluster]
    if cluster:
        from tlkeras.run.predict_cluster import predict_on_workers

        return predict_on_workers(cluster, run, chunks, top_k, watch)
    # [/part]
    predictor = load_predictor(run)
    return ((chunk, predict_chunk(predictor, chunk, top_k, watch)) for chunk in chunks)


def _skip(sources: Iterator[Source], state: dict[str, Any], digest: Any, output: Path) -> Iterator[Source]:
    """Leave out what was predicted before; refuse other files, another run and other options than those."""
    for _ in range(state["count"]):
        with contextlib.suppress(StopIteration):
            digest.update(f"{next(sources).name}\0".encode(errors="surrogateescape"))
    if digest.hexdigest() != state["digest"]:
        raise UserError(
            f"{output} was started with other files, in another order, or with another run or --top-k. Give the same "
            "to resume, or another --output."
        )
    return sources


def _append_csv(output: Path, predictions: Sequence[Prediction], state: dict[str, Any]) -> int:
    """Write rows behind the bytes that count, over what a killed program may have left there; return the new size."""
    text = as_csv(predictions) + "\n"
    with output.open("r+b" if output.exists() else "w+b") as file:
        file.truncate(state["size"])
        file.seek(state["size"])
        file.write((text if not state["size"] else text.partition("\n")[2]).encode(errors="backslashreplace"))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _append_parquet() -> Any:
    """Return a function that writes a file into a folder, under the number of what was written before."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install pyarrow, or give --output a name ending in .csv.") from None
    schema = pa.schema([("path", pa.string()), ("rank", pa.int32()), ("label", pa.string()), ("score", pa.float64()),
                        ("error", pa.string()), ("unsure", pa.bool_())])  # fmt: skip

    def append(output: Path, predictions: Sequence[Prediction], state: dict[str, Any]) -> int:
        output.mkdir(exist_ok=True)
        part = output / f"part-{state['count']:012d}.parquet"
        partial = output / f".{part.name}"
        columns = zip(*csv_rows(predictions), strict=True)
        table = pa.table([pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)], schema)
        pq.write_table(table, partial)
        flush(partial)
        partial.replace(part)
        flush(output)
        return state["size"] + 1

    return append


def predict_command(options: Any, watch: Watch | None) -> None:
    """Do what `predict.py --output` asks for, and say what was written."""
    if options.json or options.csv:
        raise UserError("--output writes CSV or Parquet, by its name: leave --json and --csv out.")
    modality = load_run(options.run).modality
    texts = options.as_dict().get("text", [])
    if texts:
        raise UserError("--text goes with the terminal: with --output give files.")
    listed = read_list(options.from_file) if options.from_file else ()
    sources = chain(list_inputs(options.paths, type(modality)), listed)
    output = Path(options.output).expanduser()
    count, damaged = predict_to_file(options.run, sources, output, options.top_k, options.resume, watch,
                                     options.as_dict().get("cluster"))  # fmt: skip
    if not count:
        raise UserError("Nothing was given for PATH or --from-file. See predict.py --help.")
    print(f"Predicted {modality.count_noun(count)}, of which {damaged:,} cannot be read: {output}")
