"""The backbone table, and the stages of a backbone or of a run's model, as text."""

from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.io.archives import check_model_file
from tlkeras.backbones import BACKBONES, Backbone
from tlkeras.errors import UserError
from tlkeras.extras.kerashub.presets import read_encoder
from tlkeras.extras.hub.spec import resolve_spec
from tlkeras.run.load_run import load_run
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    import keras


def backbone_table() -> str:
    """All rows: name, weights, image sizes, stages."""
    lines = [f"{'backbone':<20} {'parameters':>12} {'size':>5} {'least':>6}  stages (phase 2 unfreezes from *)"]
    for spec in BACKBONES.values():
        stages = [stage.name + ("*" if stage.name == spec.finetune_from else "") for stage in spec.stages]
        if len(stages) > 8:
            stages = [stages[0], stages[1], "…", *stages[-6:]]
        lines.append(
            f"{spec.name:<20} {spec.parameters:>12,} {spec.default_size:>5} {spec.min_size:>6}  {' '.join(stages)}"
        )
    return "\n".join(lines)


def stage_table(name: str) -> str:
    """The stages of a backbone, read from the real layers, with the weights that learn when each is unfrozen.

    Args:
        name: a backbone of the table, `hub:HANDLE`, `kerashub:PRESET`, a run's folder, or a `.keras` file of
            tlkeras.

    Raises:
        UserError: for anything else.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        path = load_run(name).path / "model.keras"
    elif name.endswith(".keras"):
        check_model_file(path)
    elif path.is_file():
        raise UserError(f"{path} holds no model; give a .keras file, a run's folder or a backbone's name.")
    else:
        spec = resolve_spec(name)
        if spec.preset:  # of a size nothing can be built before it has learnt its words
            return describe_spec(read_encoder(spec))
        load_tensorflow()
        from tlkeras.models.builders import build_classifier

        return describe_stages(build_classifier(spec, 1, weights="module" if spec.handle else "none"))
    load_tensorflow()
    from tlkeras.run.model_file import load_model

    model = load_model(path)
    return f"{path}, {describe_model(model)}\n{describe_stages(model)}"


def describe_spec(spec: Backbone) -> str:
    """A line for each stage of an encoder: its first layer."""
    lines = [f"{'stage':<20} first layer"]
    lines += [f"{stage.name + '*' * (stage.name == spec.finetune_from):<20} {stage.layer}" for stage in spec.stages]
    lines.append(f"Phase 2 unfreezes from * by default; the encoder has about {spec.parameters:,} parameters.")
    return "\n".join(lines)


def describe_model(model: "keras.Model") -> str:
    """Backbone, image size and parameter counts of a model in a line."""
    from tlkeras.models.freezing import get_backbone
    from tlkeras.models.introspect import backbone_at

    backbone = get_backbone(model)
    total, below = model.count_params(), backbone.count_params()
    counts = f"{total:,} parameters, {below:,} in the backbone and {total - below:,} in the head"
    return f"{backbone_at(model)}: {counts}"


def describe_stages(model: "keras.Model") -> str:
    """A line for each stage: its first layer, layers, weights, and the weights that learn from it upwards."""
    from tlkeras.models.freezing import get_backbone, count_params, first_trainable_index, get_spec, set_trainable

    backbone, spec = get_backbone(model), get_spec(model)
    head = set_trainable(model, "none").trainable
    starts = [first_trainable_index(backbone, stage.name) for stage in spec.stages] + [len(backbone.layers)]
    lines = [f"{'stage':<12} {'first layer':<36} {'layers':>6} {'parameters':>12} {'learn from here up':>20}"]
    for stage, start, end in zip(spec.stages, starts, starts[1:], strict=False):
        layers = backbone.layers[start:end]
        weights = sum(count_params(layer.weights) for layer in layers)
        learn = set_trainable(model, stage.name).trainable - head
        mark = "*" if stage.name == spec.finetune_from else ""
        lines.append(f"{stage.name + mark:<12} {layers[0].name:<36} {len(layers):>6} {weights:>12,} {learn:>20,}")
    lines.append(f"Phase 2 unfreezes from * by default; the backbone has {backbone.count_params():,} parameters.")
    return "\n".join(lines)
