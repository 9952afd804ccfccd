"""The pooled features of examples by one backbone, computed when they are asked for."""

import statistics
import time
from collections.abc import Sequence

import keras
import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.train import TrainConfig
from tlkeras.data.example import Example
from tlkeras.data.loading import decode_all
from tlkeras.data.pipeline import SplitData
from tlkeras.data.streaming import Rows
from tlkeras.features.engines import make_engine
from tlkeras.features.extract import ExtractionJob
from tlkeras.features.split_model import split_model
from tlkeras.modalities.base import Modality
from tlkeras.models.batch_norm import ADAPTED, adapt_batch_norm
from tlkeras.models.builders import build_classifier

CALLS = 10  # that are timed, after as many that warm up


class Extractor:
    """A backbone that is built when the first features are wanted."""

    def __init__(
        self, config: TrainConfig, spec: BackboneSpec, modality: Modality, examples: Sequence[Example]
    ) -> None:
        self._config, self._spec, self._modality, self._examples = config, spec, modality, examples
        self.parameters, self.milliseconds, self._seconds, self._count = 0, 0.0, 0.0, 0

    @property
    def throughput(self) -> float:
        """Return examples a second through the backbone; building and decoding do not count."""
        return self._count / self._seconds

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return features `(n, C)` of some examples `(n,)`."""
        inputs = decode_all([self._examples[row] for row in rows], self._modality, 1.0).inputs
        data = SplitData(inputs, np.arange(len(rows)), np.zeros((len(rows), 1), "float32"), type(self._modality))
        job = ExtractionJob(data, self._config, False)
        if not self.parameters:
            self._build(inputs, next(job.batches())[:1])
        arrays = [np.empty(shape, "float32") for shape in job.shapes(self._below)]
        start = time.perf_counter()
        job.fill(self._engine, arrays, f"Computing features of {self._spec.name}")
        self._seconds += time.perf_counter() - start
        self._count += len(rows)
        return arrays[0]

    def _build(self, inputs: Rows, one: np.ndarray) -> None:
        """Make the engine for decoded examples `(N, …)`, and time it on one `(1, …)`."""
        size = self._modality.options().get("image_size")
        model = build_classifier(self._spec, 2, weights=self._config.weights, image_size=size,
                                 pooling=self._config.pooling)  # fmt: skip
        if self._config.batch_norm == "adapt":
            adapt_batch_norm(model, inputs[:ADAPTED], self._config.adapt_fraction)
        self._below: keras.Model = split_model(model, 0).below
        # One image at a time is timed below, which OpenVINO would fill up to a batch.
        self._engine = make_engine(self._below, "tensorflow")
        self.parameters = self._below.count_params()
        seconds = []
        for _ in range(2 * CALLS):
            start = time.perf_counter()
            self._engine([one])
            seconds.append(time.perf_counter() - start)
        self.milliseconds = 1000 * statistics.median(seconds[CALLS:])
