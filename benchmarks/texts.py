"""Topics of texts: a small hub module trained in two phases against logistic regression on a bag of words.

    python benchmarks/texts.py

The texts are the first paragraphs of docstrings of installed libraries, without their names; the class is the library.
The module's word vectors come from docstrings of Python's own library and of TensorFlow, which are not among them.
"""

import argparse
import ast
import csv
import importlib.util
import json
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from arguments import at_least
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tlkeras.runtime import load_tensorflow

TRAIN = Path(__file__).parents[1] / "scripts" / "train.py"
LIBRARIES = ("numpy", "scipy", "sklearn", "keras", "matplotlib", "PIL")
NAMES = re.compile(r"\b(numpy|np|scipy|sklearn|scikit|keras|tensorflow|tf|matplotlib|mpl|pyplot|pil|pillow)\b", re.I)
TEST_TEXTS = 60  # of each library
VECTOR_SIZE = 100
OOV_BUCKETS = 4000  # vectors for words that are not in the vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=at_least(1), default=3)
    parser.add_argument(
        "--train-sizes", type=at_least(1), nargs="+", default=[10, 100], help="training texts of each library"
    )
    options = parser.parse_args()
    texts = {name: sorted(set(paragraphs(Path(importlib.util.find_spec(name).origin).parent))) for name in LIBRARIES}
    print(", ".join(f"{name} {len(found):,}" for name, found in texts.items()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        others = Path(sysconfig.get_path("stdlib")), Path(importlib.util.find_spec("tensorflow").origin).parent
        write_module(Path(folder) / "module", [text for root in others for text in paragraphs(root, whole=True)])
        for size in options.train_sizes:
            results = [run_seed(Path(folder), texts, size, seed) for seed in range(options.seeds)]
            print(f"{size} training texts and {TEST_TEXTS} test texts of each of {len(LIBRARIES)} libraries")
            for name in results[0]:
                report(name, [result[name] for result in results])


def report(name: str, values: list[tuple[float, float]]) -> None:
    """Print accuracy and seconds over the seeds."""
    accuracy, seconds = zip(*values, strict=True)
    spread = f"{statistics.median(accuracy):.3f} ({min(accuracy):.3f}–{max(accuracy):.3f})"
    print(f"  {name:<32} {spread}  {statistics.median(seconds):5.1f} s", flush=True)


def paragraphs(root: Path, whole: bool = False) -> Iterator[str]:
    """Yield the first paragraphs of the docstrings in a library's source, or the whole docstrings."""
    for path in sorted(root.rglob("*.py")):
        if {"tests", "test", "site-packages", "_vendor", "idlelib"} & set(path.relative_to(root).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                text = NAMES.sub("", " ".join((text if whole else text.partition("\n\n")[0]).split()))
                if len(text) >= 40:
                    yield text


def write_module(folder: Path, texts: list[str]) -> None:
    """Save a module that adds up its words' vectors from latent semantic analysis; unknown words share random ones."""
    load_tensorflow()
    import tensorflow as tf

    terms = TfidfVectorizer(sublinear_tf=True, min_df=2, token_pattern="[a-z]+")
    svd = TruncatedSVD(VECTOR_SIZE, random_state=0).fit(terms.fit_transform(text.lower() for text in texts))
    vectors = svd.components_.T * terms.idf_[:, None]
    noise = np.random.default_rng(0).normal(size=(OOV_BUCKETS, VECTOR_SIZE))
    vectors = np.concatenate([vectors / vectors.std(), noise]).astype("float32")
    words = terms.get_feature_names_out()
    indices = tf.lookup.KeyValueTensorInitializer(tf.constant(words), tf.range(len(words), dtype=tf.int64))
    table = tf.lookup.StaticVocabularyTable(indices, OOV_BUCKETS)
    module = tf.train.Checkpoint(table=table, vectors=tf.Variable(vectors))

    def features(inputs: tf.Tensor) -> tf.Tensor:
        found = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(inputs), "[^a-z]+", " "))
        rows = tf.gather(module.vectors, module.table.lookup(found.values))
        total = tf.reduce_sum(found.with_values(rows), axis=1)
        return total / tf.maximum(tf.norm(total, axis=1, keepdims=True), 1e-3) * VECTOR_SIZE**0.5

    module.__call__ = tf.function(features, input_signature=[tf.TensorSpec((None,), tf.string)])
    tf.saved_model.save(module, str(folder))
    print(f"module: {len(words):,} words, from {len(texts):,} docstrings", flush=True)


def run_seed(folder: Path, texts: dict[str, list[str]], size: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return test accuracy and seconds of both, on the same texts."""
    rng, rows = np.random.default_rng(seed), []
    for name in LIBRARIES:
        chosen = rng.permutation(texts[name])[: size + TEST_TEXTS]
        validation = max(2, size // 5)
        splits = ["validation"] * validation + ["train"] * (size - validation) + ["test"] * TEST_TEXTS
        rows += [(str(text), name, split) for text, split in zip(chosen, splits, strict=True)]
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label", "split"), *rows])
    return {"tlkeras": two_phases(folder, seed), "bag of words, logistic regression": bag_of_words(rows)}


def two_phases(folder: Path, seed: int) -> tuple[float, float]:
    """Run scripts/train.py; its start and the tracing of graphs are part of the time."""
    start, run = time.perf_counter(), folder / "run"
    arguments = ["--data", folder / "texts.csv", "--backbone", f"hub:{folder / 'module'}", "--seed", seed]
    arguments += ["--frozen-epochs", 30, "--finetune-epochs", 30]
    arguments += ["--head-learning-rate", 3e-2, "--finetune-learning-rate", 3e-2]
    command = [sys.executable, TRAIN, *arguments, "--run-dir", run, "--overwrite", "--cache-gb", 0]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads((run / "metrics.json").read_text())["test"]["accuracy"], time.perf_counter() - start


def bag_of_words(rows: list[tuple[str, str, str]]) -> tuple[float, float]:
    """Choose the penalty by validation, then evaluate the test texts once."""
    start = time.perf_counter()
    parts = {split: list(zip(*[row[:2] for row in rows if row[2] == split], strict=True))
             for split in ("train", "validation", "test")}  # fmt: skip
    models = [make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=penalty, max_iter=1000))
              for penalty in (1, 10, 100)]  # fmt: skip
    best = max((model.fit(*parts["train"]) for model in models), key=lambda model: model.score(*parts["validation"]))
    return best.score(*parts["test"]), time.perf_counter() - start


if __name__ == "__main__":
    main()
