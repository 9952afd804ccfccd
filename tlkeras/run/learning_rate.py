"""What `train.py --find-learning-rates` does in place of a run."""

import tempfile
from pathlib import Path
from typing import Any

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.extensions import Extensions
from tlkeras.config.train import TrainConfig
from tlkeras.run.folder import log_file
from tlkeras.run.job import Job, configure, prepare

FILE = Path("learning_rates.png")


def suggest_rates(config: TrainConfig, spec: BackboneSpec, data: Any, given: Extensions) -> Path:
    """Test learning rates for both phases, print what is suggested, and plot them into `FILE`."""
    # [part: devices]
    from dataclasses import replace

    config = replace(config, devices=1)  # "auto" would test how several work together
    # [/part]
    config, spec = configure(config, spec)
    from tlkeras.run.train import build  # which imports this module

    with tempfile.TemporaryDirectory() as name, log_file(Path(name, "log.txt")):
        folder = Path(name)
        config, spec, decoded, *_ = prepare(Job("", "", lambda *_: None), config, spec, folder, folder, data)
        from tlkeras.data.pipeline import split_data
        from tlkeras.training.learning_rate import find_learning_rates, plot_learning_rates
        from tlkeras.training.phase import OPTIONS, TITLES

        splits = split_data(decoded)
        model = build(config, spec, splits["train"], given.head)
        tests = find_learning_rates(
            model, splits["train"], splits["validation"], config, loss=given.loss, augment=given.augment
        )
    for phase, test in tests.items():
        print(f"{TITLES[phase]}: {OPTIONS[phase]} {test.suggested:g} (the loss was lowest at {test.lowest:.1g})")
    plot_learning_rates(tests, FILE)
    print(f"Plot: {FILE}")
    return FILE
