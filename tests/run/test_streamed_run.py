"""A run whose images are decoded when they are asked for ends as one whose images were loaded, bit by bit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkeras.run.train import train

OPTIONS = {"weights": "none", "epochs": (2, 1), "batch_size": 8, "image_size": 16, "memory_gb": 0.0}


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
def test_a_streamed_run_equals_a_loaded_one(tiny, colored, tmp_path, monkeypatch, capsys, cache_gb):
    monkeypatch.chdir(tmp_path)
    for number, pixels in enumerate(colored(45).inputs):
        path = Path("photos", "rgb"[number % 3], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    Path("photos/r/damaged.png").write_bytes(b"nothing")
    found = {}
    for name, options in (("loaded", {}), ("streamed", {"disk_gb": 0.0})):
        monkeypatch.setenv("TLKERAS_CACHE", str(tmp_path / f"cache of {name}"))
        train(data="photos", backbone=tiny, run_dir=name, max_unreadable=0.1, cache_gb=cache_gb, **OPTIONS, **options)
        texts = [Path(name, file).read_text() for file in ("history.csv", "split.csv", "findings.json")]
        found[name] = texts, dict(np.load(Path(name, "predictions.npz")))
    said = capsys.readouterr().out
    assert said.count("so they are in a temporary file") == 1
    assert said.count("so they are decoded whenever they are needed") == 1
    assert found["loaded"][0] == found["streamed"][0]
    for name, values in found["loaded"][1].items():
        np.testing.assert_array_equal(values, found["streamed"][1][name])
