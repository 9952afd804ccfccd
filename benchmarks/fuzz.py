"""Feed mutated images, weight files, models and checkpoints to the readers, and look for crashes and hangs.

    python benchmarks/fuzz.py

Each mutant is a good file with some bytes changed, cut out, doubled or removed at the end. Images must be decoded, or
skipped under their own name; other files must load or be refused in a sentence. Each batch runs in a process of
its own that has a time limit, so that a crash or a hang of a decoder's C code is seen.
"""

import argparse
import io
import logging
import multiprocessing
import random
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from arguments import at_least
from PIL import Image

SECONDS = 300  # for a batch
BATCH = 500  # files at a time
FAILURES = ("crash", "hang", "traceback", "wrong name")

Job = Callable[[random.Random, Path, int], Counter]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=at_least(0), default=9000, help="mutated images; 0 leaves them out")
    parser.add_argument("--models", type=at_least(0), default=1500, help="mutated models, weight files and checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.images + options.models:
        parser.error("--images and --models are 0: there is nothing to check")
    total = Counter()
    for job, count in ((fuzz_images, options.images), (fuzz_models, options.models)):
        for batch, first in enumerate(range(0, count, BATCH)):
            total += in_a_process(job, min(BATCH, count - first), options.seed * 1000 + batch)
    print(f"{'kind':<12} {'outcome':<12} {'files':>7}")
    for (kind, what), count in sorted(total.items()):
        print(f"{kind:<12} {what:<12} {count:>7,}")
    if bad := [key for key in total if key[1] in FAILURES]:
        raise SystemExit(f"There are failures: {bad}")


def in_a_process(job: Job, count: int, seed: int) -> Counter:
    """Return the outcomes of one batch; a crash or a hang of the process is one too."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=report, args=(job, count, seed, theirs))
    process.start()
    theirs.close()
    try:
        if ours.poll(SECONDS):
            return ours.recv()
        process.kill()
        return Counter({(job.__name__, "hang"): 1})
    except EOFError:
        return Counter({(job.__name__, "crash"): 1})
    finally:
        process.join()


def report(job: Job, count: int, seed: int, pipe: Connection) -> None:
    """Run a batch and send its outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        pipe.send(job(random.Random(seed), Path(folder), count))


def fuzz_images(rng: random.Random, folder: Path, count: int) -> Counter:
    """Decode a folder of mutants; those that `decode_all` skips must be those that cannot be decoded one by one."""
    from tlkeras.data.loading import decode_all
    from tlkeras.data.sources import find_examples
    from tlkeras.modalities.base import DecodeError
    from tlkeras.modalities.image import ImageModality, decode

    good = list(good_images(rng))
    for number in range(count):
        suffix, content = rng.choice(good)
        path = folder / "images" / "ab"[number % 2] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutate(content, rng))
    for name in "ab":
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        (folder / "images" / name / "good.png").write_bytes(dict(good)[".png"])
    examples = find_examples(str(folder / "images")).examples
    decoded = decode_all(examples, ImageModality(32), 1.0)
    skipped, outcomes = {example.name for example, _ in decoded.unreadable}, Counter()
    for example in examples:
        try:
            decode(example.path, 32)
            outcomes["image", "wrong name" if example.name in skipped else "decoded"] += 1
        except DecodeError:
            outcomes["image", "skipped" if example.name in skipped else "wrong name"] += 1
    return outcomes


def good_images(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield suffix and content of a small image in each format."""
    noise = np.random.default_rng(rng.randrange(1000)).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    source = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix, mode, more in ((".jpg", "RGB", {"exif": exif}), (".jpeg", "CMYK", {}), (".png", "RGBA", {}),
                               (".gif", "P", {}), (".bmp", "RGB", {}), (".webp", "RGBA", {}),
                               (".tiff", "RGB", {"compression": "tiff_lzw"})):  # fmt: skip
        file = io.BytesIO()
        image = source.convert(mode) if mode in ("RGBA", "CMYK") else source.convert("RGB").convert(mode)
        image.save(file, {".jpg": "JPEG", ".jpeg": "JPEG", ".tiff": "TIFF"}.get(suffix, suffix[1:].upper()), **more)
        yield suffix, file.getvalue()


def fuzz_models(rng: random.Random, folder: Path, count: int) -> Counter:
    """Read mutated `.keras`, `.weights.h5` and checkpoint files."""
    from tlkeras.runtime import load_tensorflow

    logging.disable()  # a note for each damaged checkpoint
    load_tensorflow(0)
    import keras

    from tlkeras.backbones.registry import get_backbone_spec
    from tlkeras.backbones.weights import check_weights_option
    from tlkeras.errors import UserError
    from tlkeras.io.archives import check_model_file
    from tlkeras.models.weights import load_backbone_weights
    from tlkeras.run.load_run import load_model
    from tlkeras.training.checkpoint import Checkpoints

    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.save(folder / "good.keras")
    spec = get_backbone_spec("MobileNet-0.25")
    backbone = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3))
    backbone.save_weights(folder / "good.weights.h5")
    Checkpoints(folder / "checkpoints").write(1, {"weights": [np.arange(100.0)]}, {"epoch": 1})
    checkpoint = next((folder / "checkpoints").iterdir())
    good = {".keras": (folder / "good.keras").read_bytes(), ".weights.h5": (folder / "good.weights.h5").read_bytes(),
            ".npz": checkpoint.read_bytes()}  # fmt: skip
    outcomes = Counter()
    for number in range(count):
        suffix = rng.choice(list(good))
        path = checkpoint if suffix == ".npz" else folder / f"{number}{suffix}"
        path.write_bytes(mutate_member(good[suffix], rng) if suffix == ".keras" else mutate(good[suffix], rng))
        try:
            if suffix == ".npz":
                same = path.read_bytes() == good[suffix]
                refused = Checkpoints(folder / "checkpoints").latest() is None
                outcomes[suffix, "refused" if refused else "loaded" if same else "wrong name"] += 1
                continue
            if suffix == ".keras":
                check_model_file(path)
                load_model(path)
            else:
                check_weights_option(spec, str(path), 32)
                load_backbone_weights(backbone, spec, str(path), 32)
            outcomes[suffix, "loaded"] += 1
        except UserError as error:
            outcomes[suffix, "refused" if path.name in str(error) else "wrong name"] += 1
        except Exception as error:
            print(type(error), error)
            outcomes[suffix, "traceback"] += 1
    return outcomes


def mutate_member(content: bytes, rng: random.Random) -> bytes:
    """Mutate, half of the time, the archive itself, else one file in it."""
    if rng.random() < 0.5:
        return mutate(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    members[name] = mutate_json(members[name], rng) if name.endswith(".json") else mutate(members[name], rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return file.getvalue()


def mutate_json(content: bytes, rng: random.Random) -> bytes:
    """Put another value in the place of some word of the text, so that it mostly stays JSON."""
    text = content.decode()
    words = re.findall(r"\w+", text)
    return text.replace(rng.choice(words), rng.choice([*words, "-1", "1e99", "null", "../x", "x" * 1000])).encode()


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, cut a piece out or double it, or cut the end off."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        index, length = rng.randrange(len(data)), rng.randint(1, 50)
        match rng.randrange(5):
            case 0 | 1:
                data[index] = rng.randrange(256)
            case 2:
                del data[index : min(index + length, len(data) - 1)]
            case 3:
                data[index:index] = data[index : index + length]
            case 4 if rng.random() < 0.3:
                del data[max(index, 1) :]
    return bytes(data)


if __name__ == "__main__":
    main()
