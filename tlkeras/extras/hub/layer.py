"""A TensorFlow Hub module as a Keras 3 layer, which tensorflow_hub's own `KerasLayer` cannot be, and a model on it."""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkeras.backbones.spec import check_image_size
from tlkeras.config.fields import Resize
from tlkeras.errors import UserError
from tlkeras.extras.hub.handles import digest_module
from tlkeras.extras.hub.module import Module, open_module
from tlkeras.extras.hub.spec import INPUT, MODEL_NAME, STAGE, HubSpec
from tlkeras.models.backbone import preprocess_input, resized_input
from tlkeras.models.keras_private import add_variables

log = logging.getLogger("tlkeras")


def build_inputs_and_features(
    spec: HubSpec, *, weights: str, image_size: int | None, precision: str, resize: Resize
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build the lower part of a model: for images resizing, scaling and the module; for text and audio the module.

    From pixels `(B, H, W, 3)`, 0–255, texts `(B,)`, or audio `(B, samples)` to features, such as `(B, C)`. A module has
    weights of its own and always computes in float32.
    """
    if spec.modality == "image":
        size = check_image_size(spec, image_size)
        inputs, x = resized_input(size, resize)
        return inputs, build_module(spec, (size, size, 3))(preprocess_input(x, spec.preprocess_mode))
    if spec.modality == "text":
        inputs = keras.Input((), dtype="string", name="text")
    else:
        inputs = keras.Input((spec.max_size,), name="audio")  # None where it takes any number of samples
    return inputs, build_module(spec, inputs.shape[1:])(inputs)


def build_module(spec: HubSpec, input_size: tuple[int | None, ...]) -> keras.Model:
    """Build a module alone: inputs `(B, *input_size)` to features; frozen, in inference mode."""
    inputs = keras.Input(input_size, name=INPUT, dtype="string" if spec.modality == "text" else "float32")
    module = HubModule(spec.folder, input_size, source=spec.name, name=STAGE)
    backbone = keras.Model(inputs, module(inputs), name=MODEL_NAME)
    size = f" at {input_size[0]} px" if spec.modality == "image" else ""
    log.info("Backbone: %s%s, weights of the module.", spec.name, size)
    backbone.trainable = False
    return backbone


@keras.saving.register_keras_serializable(package="tlkeras")
class HubModule(keras.layers.Layer):
    """A SavedModel from inputs to features, its weights this layer's own: they are frozen, trained and saved with it.

    The module always runs in inference mode, so BatchNormalization keeps its statistics and nothing in it is random.
    Its regularization losses count while the layer is trainable. Its files are in the saved `.keras` and unpacked from
    there; to open one, import `tlkeras.extras.hub.layer` first; to train on, compile the model again.

    Source: the convention of https://www.tensorflow.org/hub/reusable_saved_models.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        input_size: Sequence[int | None] = (),
        output_size: Sequence[int | None] = (),
        digest: str | None = None,
        source: str = "a hub module",
        **kwargs: Any,
    ) -> None:
        """Load a module, or leave that to `load_assets` where Keras reads a saved model.

        Sizes are shapes without the batch axis; that of the outputs is read from the module where there is a folder.
        The digest, SHA-256 of graph and assets, is compared if given; the source is for messages.
        """
        super().__init__(autocast=False, **(kwargs | {"dtype": "float32"}))
        self.input_size, self.output_size, self.digest = tuple(input_size), tuple(output_size), digest
        self.source = source
        self._module: Module | None = None
        self._saved: list[np.ndarray] | None = None  # weights, until the module is there
        if folder is not None:
            self.output_size = self._load(Path(folder)).output_size(self.input_size)
        self.built = True

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HubModule":
        """Return a layer without its files; an untrusted config cannot name a folder."""
        return cls(**{name: value for name, value in config.items() if name != "folder"})

    def _load(self, folder: Path) -> Module:
        # A copy, as the folder may be gone or changed when the model is saved.
        self._files = tempfile.TemporaryDirectory(prefix="tlkeras-hub-")
        self._folder = Path(shutil.copytree(folder, Path(self._files.name) / "module"))
        digest = digest_module(self._folder)
        if self.digest not in (None, digest):
            raise UserError(f"{folder} holds another module than the one that was saved or asked for. Get it again.")
        module = open_module(self._folder)
        self._module, self.digest = module, digest
        self._root = module.root  # TensorFlow exports its tables and vocabularies where it finds them
        trainable = {id(variable) for variable in module.trainable}
        # Named by their index, as names in modules are not unique and hold slashes.
        variables = [
            keras.Variable(
                value, value.shape, value.dtype.name, trainable=id(value) in trainable, name=f"module_{index}"
            )
            for index, value in enumerate(module.variables)
        ]
        add_variables(self, variables)
        self.trainable = self.trainable  # type: ignore[has-type] # passed on to new weights
        return module

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Compute float32 features `(B, *output_size)` of inputs `(B, …)`."""
        if self._module is None:
            raise RuntimeError(
                f"The layer of {self.source} has no files: they come with keras.models.load_model, not with a config "
                "or a clone. Build the model again, or load it."
            )
        if self.trainable:
            for loss in self._module.losses:
                self.add_loss(loss())
        dtype = self._module.spec.dtype
        if dtype != tf.string:
            inputs = tf.cast(tf.round(inputs) if dtype.is_integer else inputs, dtype)  # a cast alone truncates
        features = tf.cast(self._module.run(inputs), tf.float32)
        return tf.ensure_shape(features, (None, *self.output_size))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `(B, *output_size)`."""
        return (input_shape[0], *self.output_size)

    def get_config(self) -> dict[str, Any]:
        """Return all but the files."""
        own = {name: getattr(self, name) for name in ("input_size", "output_size", "digest", "source")}
        return super().get_config() | own

    def save_assets(self, folder: str) -> None:
        """Write the module's files into a saved model."""
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)

    def load_own_variables(self, store: Any) -> None:
        """Load saved weights, or keep them until the module is loaded."""
        if self._module is None:
            self._saved = [store[str(index)][()] for index in range(len(store.keys()))]
        else:
            super().load_own_variables(store)

    def load_assets(self, folder: str) -> None:
        """Load the module from a saved model, and assign the saved weights."""
        self._load(Path(folder))
        for weight, value in zip(self.weights, self._saved or [], strict=True):
            weight.assign(value)
        self._saved = None
