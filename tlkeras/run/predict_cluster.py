"""Batch prediction on the workers of a cluster, each of which has the model and decodes its files itself."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import tee

from tlkeras.cluster import connected, in_order
from tlkeras.run.load_run import Run
from tlkeras.run.predict import Prediction, Source, Watch, predict_chunk
from tlkeras.run.predictor import Predictor, load_predictor


def predict_on_workers(
    address: str, run: Run, chunks: Iterable[Sequence[Source]], top_k: int, watch: Watch | None
) -> Iterator[tuple[Sequence[Source], list[Prediction]]]:
    """Yield each chunk with its predictions, in order; `watch` is called here."""
    given, chunks = tee(chunks)  # as some are under way before the first comes back
    with connected(address) as workers:
        compute = partial(_predict, top_k, watch is not None)
        results = in_order(partial(load_predictor, run), compute, given, workers)
        for chunk, (predictions, seen) in zip(chunks, results, strict=True):
            if watch:
                for outputs in seen:
                    watch(*outputs)
            yield chunk, predictions


def _predict(
    top_k: int, watched: bool, predictor: Predictor, chunk: Sequence[Source]
) -> tuple[list[Prediction], list[tuple]]:
    seen: list[tuple] = []
    predictions = predict_chunk(predictor, chunk, top_k, (lambda *outputs: seen.append(outputs)) if watched else None)
    return predictions, seen
