"""From uploaded files to predictions and maps: decoded in threads, predicted in batches, within limits."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from fastapi import HTTPException
from starlette.datastructures import UploadFile

from tlkeras.config.serve import ServeOptions
from tlkeras.errors import UserError
from tlkeras.modalities.base import DecodeError
from tlkeras.run.load_run import Run
from tlkeras.run.predict import Prediction, rank
from tlkeras.serving.batching import Batcher
from tlkeras.serving.explain import Explainer
from tlkeras.serving.images import decode_upload
from tlkeras.serving.metrics import Metrics


class Service:
    """What the addresses of the service have in common."""

    def __init__(self, run: Run, batcher: Batcher, metrics: Metrics, options: ServeOptions) -> None:
        self.run, self.metrics, self.options = run, metrics, options
        self._batcher, self._explainer = batcher, Explainer(run)
        self.has_maps = self._explainer.has_model
        self._decoders = ThreadPoolExecutor(os.cpu_count(), "decoder")
        self._explaining = ThreadPoolExecutor(1, "explainer")
        self._slots = asyncio.Semaphore(options.max_requests)

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Take one of the places for requests, for a limited time; refuse where all are taken or time is over."""
        if self._slots.locked():
            raise HTTPException(503, "Too many requests at once. Try again in a moment.", {"Retry-After": "1"})
        async with self._slots:
            try:
                async with asyncio.timeout(self.options.answer_seconds):
                    yield
            except TimeoutError:
                took = f"It took more than {self.options.answer_seconds:g} seconds. Send fewer images at once."
                raise HTTPException(503, took, {"Retry-After": "1"}) from None

    async def predict(self, files: Sequence[UploadFile], top_k: int) -> list[Prediction]:
        """Return a prediction for each file, in their order; unreadable ones carry the reason."""
        async with self.answering():
            return list(await asyncio.gather(*(self._predict(file, top_k) for file in files)))

    async def _predict(self, upload: UploadFile, top_k: int) -> Prediction:
        name = upload.filename or ""
        try:
            example = await self._decode(upload)
        except DecodeError as error:
            self.metrics.images.labels("unreadable").inc()
            return Prediction(name, [], str(error))
        decision = await asyncio.wrap_future(self._batcher.submit(example))
        self.metrics.images.labels("unsure" if decision.unsure else "sure").inc()
        return Prediction(name, rank(self.run, decision.output, top_k), unsure=decision.unsure)

    async def explain(self, upload: UploadFile, label: str | None) -> bytes:
        """Return a PNG of what speaks for a label, or for the most likely one, in an image."""
        if label is not None and label not in self.run.classes:
            raise HTTPException(422, f"There is no label {label}. See /labels.")
        async with self.answering():
            try:
                example = await self._decode(upload)
                index = None if label is None else self.run.classes.index(label)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._explaining, self._explainer.png, example, index)
            except DecodeError as error:
                raise HTTPException(422, f"The image cannot be read: {error}.") from None
            except UserError as error:
                raise HTTPException(404, str(error)) from None

    async def _decode(self, upload: UploadFile) -> np.ndarray:
        def read() -> np.ndarray:
            with upload.file as file:
                return decode_upload(self.run.modality, file.read(), self.options.max_megapixels)

        return await asyncio.get_running_loop().run_in_executor(self._decoders, read)
