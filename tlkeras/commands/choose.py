"""Choose the backbone for your images: candidates on few examples, the better half on more, the best two trained."""

import contextlib
import json
import sys
from typing import Any

from tlkeras.cli import parse_config
from tlkeras.config.choose import ChooseConfig


def main() -> None:
    """Run the command."""
    words = sys.argv[1:]
    if words and not words[0].startswith("-"):
        words = ["--data", *words]
    config = parse_config(ChooseConfig, __doc__, words or ["--data", ""])
    from tlkeras.run.choose import choose

    with contextlib.redirect_stdout(sys.stderr) if config.json else contextlib.nullcontext():
        result = choose(config)
    print(json.dumps(result, indent=2, ensure_ascii=False) if config.json else as_text(result))


def as_text(result: dict[str, Any]) -> str:
    """Return the ranking as lines of at most 80 columns."""
    lines = [f"{'candidate':<24}{result['unit']:>7}{'accuracy':>10}  {'95% CI':<13}{'params':>8}{'ms':>7}{'s':>7}"]
    for row in result["candidates"]:
        low, high = row["interval_95"]
        lines.append(f"{row['name'][-24:]:<24}{row['images']:>7,}{row['accuracy']:>10.3f}  {f'{low:.3f}–{high:.3f}':<13}"
                     f"{row['parameters'] / 1e6:>7.1f}M{row['milliseconds']:>7.1f}{row['seconds']:>7.1f}")  # fmt: skip
    lines.append(f"{result['best']} is the best of these with a probability of {result['probability']:.2f}.")
    lines.append(f"Next: python scripts/train.py --config {result['config']}")
    return "\n".join(lines)
