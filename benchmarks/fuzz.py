"""Feed mutated pictures, weight files, models and checkpoints to the readers, and look for crashes and hangs.

    python benchmarks/fuzz.py

Each mutant is a good file with some bytes changed, cut out, doubled or removed at the end. Pictures must be decoded or
be set aside under their own name; other files must load or be refused in a sentence. Each batch runs in a process of
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
from pathlib import Path

import numpy as np
from PIL import Image

SECONDS = 300  # for a batch
BATCH = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=9000)
    parser.add_argument("--models", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    jobs = [(fuzz_pictures, seed) for seed in range(options.pictures // BATCH)]
    jobs += [(fuzz_models, seed) for seed in range(options.models // BATCH)]
    total = Counter()
    for job, seed in jobs:
        total += in_a_process(job, options.seed * 1000 + seed)
    print(f"{'kind':<12} {'outcome':<12} {'files':>7}")
    for (kind, what), count in sorted(total.items()):
        print(f"{kind:<12} {what:<12} {count:>7,}")
    if bad := [key for key in total if key[1] in ("crash", "hang", "traceback", "wrong name")]:
        raise SystemExit(f"Not all is well: {bad}")


def in_a_process(job, seed: int) -> Counter:
    """The outcomes of one batch; a crash or a hang of the process is one too."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=report, args=(job, seed, theirs))
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


def report(job, seed: int, pipe) -> None:
    """Run a batch and send what came out."""
    with tempfile.TemporaryDirectory() as folder:
        pipe.send(job(random.Random(seed), Path(folder)))


def fuzz_pictures(rng: random.Random, folder: Path) -> Counter:
    """A folder of mutants through `decode_all`; those set aside must be those that cannot be decoded one by one."""
    from tlkeras.data.loading import decode_all
    from tlkeras.data.sources import find_examples
    from tlkeras.modalities.base import pictures
    from tlkeras.modalities.image import DecodeError, decode

    good = list(good_pictures(rng))
    for number in range(BATCH):
        suffix, content = rng.choice(good)
        path = folder / "pictures" / "ab"[number % 2] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutate(content, rng))
    for name in "ab":
        (folder / "pictures" / name / "good.png").write_bytes(dict(good)[".png"])
    examples = find_examples(str(folder / "pictures")).examples
    decoded = decode_all(examples, pictures(32), 1.0)
    set_aside, outcomes = {example.name for example, _ in decoded.unreadable}, Counter()
    for example in examples:
        try:
            decode(example.path, 32)
            outcomes["picture", "wrong name" if example.name in set_aside else "decoded"] += 1
        except DecodeError:
            outcomes["picture", "set aside" if example.name in set_aside else "wrong name"] += 1
    return outcomes


def good_pictures(rng: random.Random):
    """One of each kind, small."""
    noise = np.random.default_rng(rng.randrange(1000)).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    picture = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix, mode, more in ((".jpg", "RGB", {"exif": exif}), (".jpeg", "CMYK", {}), (".png", "RGBA", {}),
                               (".gif", "P", {}), (".bmp", "RGB", {}), (".webp", "RGBA", {}),
                               (".tiff", "RGB", {"compression": "tiff_lzw"})):  # fmt: skip
        file = io.BytesIO()
        image = picture.convert(mode) if mode in ("RGBA", "CMYK") else picture.convert("RGB").convert(mode)
        image.save(file, {".jpg": "JPEG", ".jpeg": "JPEG", ".tiff": "TIFF"}.get(suffix, suffix[1:].upper()), **more)
        yield suffix, file.getvalue()


def fuzz_models(rng: random.Random, folder: Path) -> Counter:
    """Mutated `.keras`, `.weights.h5` and checkpoint files through what reads them."""
    from tlkeras.runtime import load_tensorflow

    logging.disable()  # a note for each damaged checkpoint
    load_tensorflow(0)
    import keras

    from tlkeras.backbones import get_backbone_spec
    from tlkeras.backbones.weight_files import check_weights_option
    from tlkeras.errors import UserError
    from tlkeras.io.archives import check_model_file
    from tlkeras.models.weights import load_backbone_weights
    from tlkeras.run.model_file import load_model
    from tlkeras.training.checkpoint import Checkpoints

    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.save(folder / "good.keras")
    row = get_backbone_spec("MobileNet-0.25")
    backbone = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3))
    backbone.save_weights(folder / "good.weights.h5")
    Checkpoints(folder / "kept").write(1, {"weights": [np.arange(100.0)]}, {"epoch": 1})
    checkpoint = next((folder / "kept").iterdir())
    good = {".keras": (folder / "good.keras").read_bytes(), ".weights.h5": (folder / "good.weights.h5").read_bytes(),
            ".npz": checkpoint.read_bytes()}  # fmt: skip
    outcomes = Counter()
    for number in range(BATCH):
        suffix = rng.choice(list(good))
        path = checkpoint if suffix == ".npz" else folder / f"{number}{suffix}"
        path.write_bytes(mutate_member(good[suffix], rng) if suffix == ".keras" else mutate(good[suffix], rng))
        try:
            if suffix == ".npz":
                same = path.read_bytes() == good[suffix]
                refused = Checkpoints(folder / "kept").latest() is None
                outcomes[suffix, "refused" if refused else "loaded" if same else "wrong name"] += 1
                continue
            if suffix == ".keras":
                check_model_file(path)
                load_model(path)
            else:
                check_weights_option(row, str(path), 32)
                load_backbone_weights(backbone, row, str(path), 32)
            outcomes[suffix, "loaded"] += 1
        except UserError as error:
            outcomes[suffix, "refused" if path.name in str(error) else "wrong name"] += 1
        except Exception as error:
            print(type(error), error)
            outcomes[suffix, "traceback"] += 1
    return outcomes


def mutate_member(content: bytes, rng: random.Random) -> bytes:
    """Half of the time the archive itself, else one file inside of one that is whole."""
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
    """Another value in the place of some word of the text, so that it mostly stays JSON."""
    text = content.decode()
    words = re.findall(r"\w+", text)
    return text.replace(rng.choice(words), rng.choice([*words, "-1", "1e99", "null", "../x", "x" * 1000])).encode()


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, cut a piece out or double it, or cut the end off."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        place, length = rng.randrange(len(data)), rng.randint(1, 50)
        match rng.randrange(5):
            case 0 | 1:
                data[place] = rng.randrange(256)
            case 2:
                del data[place : min(place + length, len(data) - 1)]
            case 3:
                data[place:place] = data[place : place + length]
            case 4 if rng.random() < 0.3:
                del data[max(place, 1) :]
    return bytes(data)


if __name__ == "__main__":
    main()
