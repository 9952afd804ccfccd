"""The backbone table, and the stages of a backbone or of a run's model, as text."""

from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.errors import UserError
from tlkeras.io.archives import check_model_file
from tlkeras.run.load_run import load_run
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    import keras


def backbone_table() -> str:
    """Return all backbones: name, weights, image sizes, stages."""
    lines = [f"{'backbone':<20} {'parameters':>12} {'size':>5} {'min':>6}  stages (phase 2 unfreezes from *)"]
    for spec in BACKBONES.values():
        stages = [stage.name + ("*" if stage.name == spec.finetune_from else "") for stage in spec.stages]
        if len(stages) > 8:
            stages = [stages[0], stages[1], "…", *stages[-6:]]
        lines.append(
            f"{spec.name:<20} {spec.num_params:>12,} {spec.default_size:>5} {spec.min_size:>6}  {' '.join(stages)}"
        )
    return "\n".join(lines)


def stage_table(name: str) -> str:
    """Return the stages of a backbone, read from the real layers, with the parameters that each unfreezes.

    Args:
        name: a backbone's name, a run's folder, or a `.keras` file of tlkeras.

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
        return describe_spec(get_backbone_spec(name))
    load_tensorflow()
    from tlkeras.run.model_file import load_model

    model = load_model(path)
    return f"{path}, {describe_model(model)}\n{describe_stages(model)}"


def describe_spec(spec: BackboneSpec) -> str:
    """Return a line for each stage of a backbone that is built for it, or that its spec tells."""
    if not spec.can_build_untrained:
        spec = spec.resolve()
        lines = [f"{'stage':<20} first layer"]
        lines += [f"{stage.name + '*' * (stage.name == spec.finetune_from):<20} {stage.first_layer}"
                  for stage in spec.stages]  # fmt: skip
        return "\n".join([*lines, f"Phase 2 unfreezes from * by default; about {spec.num_params:,} parameters."])
    load_tensorflow()
    from tlkeras.models.builders import build_classifier

    return describe_stages(build_classifier(spec, 1, weights=spec.untrained_weights))


def describe_model(model: "keras.Model") -> str:
    """Return backbone, image size and parameter counts of a model in a line."""
    from tlkeras.models.introspect import backbone_title, get_backbone

    total, below = model.count_params(), get_backbone(model).count_params()
    counts = f"{total:,} parameters, {below:,} in the backbone and {total - below:,} in the head"
    return f"{backbone_title(model)}: {counts}"


def describe_stages(model: "keras.Model") -> str:
    """Return a line for each stage: its first layer, layers, parameters, and those trainable from it upwards."""
    from tlkeras.models.freezing import count_params, first_trainable_index, set_trainable
    from tlkeras.models.introspect import get_backbone, get_spec

    backbone, spec = get_backbone(model), get_spec(model)
    head = set_trainable(model, "none").trainable
    starts = [first_trainable_index(model, stage.name) for stage in spec.stages] + [len(backbone.layers)]
    lines = [f"{'stage':<12} {'first layer':<36} {'layers':>6} {'parameters':>12} {'trainable from here':>20}"]
    for stage, start, end in zip(spec.stages, starts, starts[1:], strict=False):
        layers = backbone.layers[start:end]
        params = sum(count_params(layer.weights) for layer in layers)
        trainable = set_trainable(model, stage.name).trainable - head
        mark = "*" if stage.name == spec.finetune_from else ""
        lines.append(f"{stage.name + mark:<12} {layers[0].name:<36} {len(layers):>6} {params:>12,} {trainable:>20,}")
    lines.append(f"Phase 2 unfreezes from * by default; the backbone has {backbone.count_params():,} parameters.")
    return "\n".join(lines)
