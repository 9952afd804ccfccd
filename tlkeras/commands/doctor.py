"""Tell what this machine has for training: versions, GPUs, memory, disk; the exit code is 0 if it works, else 1."""

import json
import textwrap
from typing import Any

from tlkeras.cli import CliParser

WIDTH = 79


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    from tlkeras.run.doctor import examine

    facts = examine()
    print(json.dumps(facts, indent=2, ensure_ascii=False) if options.json else as_text(facts))
    if facts["problems"]:
        raise SystemExit(1)


def as_text(facts: dict[str, Any]) -> str:
    """Return a line or two for each topic, of at most 79 characters, and the verdict."""
    rows = [("System", facts["system"]), *packages(facts), *hardware(facts), *gpus(facts)]
    lacking = [name for name, there in facts["extras"].items() if not there]
    there = [name for name in facts["extras"] if name not in lacking]
    rows.append(("Extras", f"{', '.join(there) or 'none'}; not installed: {', '.join(lacking) or 'none'}"))
    rows += [("Cache", f"{folder}: {gigabytes(nbytes)}") for folder, nbytes in facts["caches"].items()]
    lines = [line for title, text in rows for line in wrapped(f"{title:<12} ", text)]
    verdict = [line for reason in facts["problems"] for line in wrapped("Training would not work: ", f"{reason}.")]
    alone = " with --devices 1" * facts.get("devices_fail", False)
    return "\n".join([*lines, *(verdict or [f"Training would work{alone}."])])


def wrapped(start: str, text: str) -> list[str]:
    """Return a text in lines that are indented as far as what it starts with."""
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * 13, break_on_hyphens=False)


def packages(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows on TensorFlow, Keras, and packages with other versions than the tested ones."""
    found, others = facts["tensorflow"], facts["packages"]["others"]
    rows = []
    if "version" in found:
        built = ", ".join(f"{name} {version}" for name, version in found["built_with"].items() if version)
        rows.append(("TensorFlow", f"{found['version']}, built with {built or 'neither CUDA nor cuDNN'}"))
        rows.append(("Keras", found["keras"]))
    differing = ", ".join(f"{name} {installed} ({pinned})" for name, (installed, pinned) in others.items())
    return [*rows, ("Packages", f"not the tested versions: {differing}" if others else "all as tested")]


def hardware(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows on processor, memory and disks."""
    cpu, memory = facts["processor"], facts["memory"]
    sets = ", ".join(cpu["instructions"])
    return [
        ("Processor", f"{cpu['model']}, {cpu['cores']} cores{sets and f', {sets}'}"),
        ("Memory", f"{gigabytes(memory['total'])}, {gigabytes(memory['available'])} available"),
        *(("Disk", f"{gigabytes(free)} free for {folder}") for folder, free in facts["disk"].items()),
    ]


def gpus(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows on GPUs, as the driver and as TensorFlow see them, and how fast each device is."""
    driver, found = facts["driver"], facts["tensorflow"]
    cuda = f" (for CUDA {driver['cuda']})" if driver["cuda"] else ""
    rows = [("Driver", f"{gpu}{cuda}") for gpu in driver["gpus"]] or [("Driver", driver["said"] or "no NVIDIA driver")]
    rows += [("GPU", name) for name in found.get("gpus", ())] or [("GPU", found.get("why_no_gpu") or "none")]
    for device in found.get("devices", ()):
        speed = device.get("error") or f"{device['gflops']:,} billion operations per second in matrix products"
        rows.append((device["name"], speed))
    return [*rows, *([("Several GPUs", facts["several_gpus"])] if "several_gpus" in facts else [])]


def gigabytes(count: float) -> str:
    """Return bytes as text."""
    return f"{count / 1e9:,.1f} GB"
