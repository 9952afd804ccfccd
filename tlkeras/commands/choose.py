"""Choose the backbone for your images: candidates on few examples, the better half on more, the best three trained."""

import contextlib
import json
import sys
import textwrap
from typing import Any

from tlkeras.cli import parse_config
from tlkeras.config.choose import ChooseConfig


def main() -> None:
    """Run the command."""
    words = sys.argv[1:]
    if words and not words[0].startswith("-"):
        words = ["--data", *words]
    config = parse_config(ChooseConfig, __doc__, words or ["--data", ""])
    with contextlib.redirect_stdout(sys.stderr) if config.json else contextlib.nullcontext():
        if config.search:
            from tlkeras.run.search import search

            result, text = search(config), search_text
        else:
            from tlkeras.run.choose import choose

            result, text = choose(config), as_text
    print(json.dumps(result, indent=2, ensure_ascii=False) if config.json else text(result))


def as_text(result: dict[str, Any]) -> str:
    """Return the ranking as lines of at most 80 columns."""
    from tlkeras.run.folder import command_line

    unit, lines = result["unit"], list[str]()
    if result["missing"]:
        lines += named("Left out, as their weights are not available", result["missing"])
    if late := [*result["late"], *(f"{name} (both phases)" for name in result["unfinished"])]:
        lines += named("Left out, as the budget is too short", late)
    lines += [f"{unit.capitalize()} are training {unit}, each predicted by a logistic regression on others:", "",
              f"{'candidate':<21}{unit:>7}{'accuracy':>9} {'95% CI':>12}{'loss':>6}{'LogME':>7}{'params':>8}"
              f"{'ms':>4}{'s':>5}"]  # fmt: skip
    for row in result["candidates"]:
        lines.append(f"{row_start(row, 21)}{row['loss']:>6.3f}{row['logme']:>7.2f}"
                     f"{row['parameters'] / 1e6:>7.1f}M{row['milliseconds']:>4.0f}{row['seconds']:>5.0f}")  # fmt: skip
    if result["trained"]:
        lines += ["", f"After both phases, on {unit} that were held out:", ""]
        lines += [f"{row_start(row, 21)}{row['loss']:>6.3f}{row['seconds']:>24.0f}" for row in result["trained"]]
    lines += ["", *how_sure(result), f"Plot: {result['plot']}",
              f"Next: {command_line('train', '--config', result['config'])}"]  # fmt: skip
    return "\n".join(lines)


def named(reason: str, names: list[str]) -> list[str]:
    """Return a reason and names, in lines of at most 80 columns."""
    return textwrap.wrap(f"{reason}: {', '.join(names)}.", 80)


def row_start(row: dict[str, Any], width: int) -> str:
    """Return the columns that both tables have; a long name loses its start."""
    low, high = row["interval_95"]
    name = row["name"] if len(row["name"]) < width else f"…{row['name'][2 - width :]}"
    return f"{name:<{width}}{row['images']:>7,}{row['accuracy']:>9.3f} {f'{low:.3f}–{high:.3f}':>12}"


def how_sure(result: dict[str, Any]) -> list[str]:
    """Return which one is the best, and how probably it is, of those that it was compared with."""
    parts = []
    if (probability := result["probability"]) is not None:
        parts.append(f"{probability:.2f} for {result['finalists'][0]} by its features")
    if (probability := result["probability_trained"]) is not None:
        parts.append(f"{probability:.2f} for {result['trained'][0]['name']} after both phases")
    said = f"Best: {result['best']}."
    return textwrap.wrap(f"{said} The probability of being the best is {', '.join(parts)}." if parts else said, 80)


def search_text(result: dict[str, Any]) -> str:
    """Return the best trials as lines of at most 80 columns."""
    from tlkeras.run.folder import command_line

    counts = ", ".join(f"{count} {'failed' if state == 'fail' else state}" for state, count in result["trials"].items())
    held_out = f"{result['examples']:,} {result['unit']}"
    how = f"{held_out} in {result['folds']} folds" if result["folds"] > 1 else f"{held_out} of validation"
    lines = [f"Trials: {counts}. Log loss, at the best temperature, and accuracy:", f"{how}.", ""]
    for row in result["best"]:
        options = {name: value for name, value in row["options"].items() if name not in ("data", "backbone", "weights")}
        words = ", ".join(f"{name} {f'{value:.3g}' if isinstance(value, float) else value}"
                          for name, value in options.items())  # fmt: skip
        lines += textwrap.wrap(f"{row['trial']:>4}  {row['loss']:.4f}  {row['accuracy']:.3f}  {words}", 80,
                               subsequent_indent=" " * 21)  # fmt: skip
    hint = (
        "These chose the options, so expect less on the test split: train.py looks at it, once, and nothing else does."
    )
    lines += ["", *textwrap.wrap(hint, 80), f"Next: {command_line('train', '--config', result['config'])}"]
    return "\n".join(lines)
