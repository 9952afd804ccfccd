"""The report: what it says for each task, what it escapes, and what a browser makes of it."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from tlkeras.evaluation.metrics import compute_metrics
from tlkeras.evaluation.report import Examined, Facts, choose_examples, render_model_card, render_report
from tlkeras.evaluation.thresholds import choose_thresholds

EVIL = "<script>alert('x')</script>"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None)
HISTORY = [
    {"phase": phase, "epoch": epoch, "loss": 1 / epoch, "val_loss": 1.1 / epoch, **dict.fromkeys(names, 0.5)}
    for names in [("accuracy", "val_accuracy", "mae", "val_mae")]
    for epoch, phase in enumerate(["frozen", "frozen", "finetune"], start=1)
]


def outputs_of(task: str, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs and targets, one in five of them wrong."""
    rng = np.random.default_rng(0)
    if task == "regression":
        targets = rng.normal(size=(count, 1))
        return targets + rng.normal(scale=0.2, size=(count, 1)), targets
    targets = np.eye(size)[np.arange(count) % size]
    if task == "multi_label":
        targets = np.maximum(targets, np.roll(targets, 1, axis=1))
    scores = rng.uniform(0.01, 0.4, (count, size)) + targets * rng.choice([0.1, 0.55], (count, 1), p=[0.2, 0.8])
    return scores if task == "multi_label" else scores / scores.sum(axis=1, keepdims=True), targets


def make(task: str, classes: list[str], images: bool = True, count: int = 200) -> tuple[Facts, Examined]:
    outputs, targets = outputs_of(task, count, len(classes))
    pixels = np.random.default_rng(1).integers(0, 255, (count, 40, 40, 3), dtype=np.uint8)
    metrics = compute_metrics(outputs, targets, task, classes or None)
    found = [{"kind": "copies", "severity": "serious", "paths": [f"a/{EVIL}.jpg"], "text": "The same image twice."}]
    facts = Facts(
        title=f"photos {EVIL}", task=task, classes=classes, singular="image", plural="images",
        about={"data": "photos", "examples": "200 test"}, options={"--frozen-epochs": "3"},
        headlines={"test": "the line of the terminal"}, metrics={"validation": metrics, "test": metrics},
        backbone="MobileNetV2", data="photos", notes=["A note."], history=HISTORY, kept_epoch=2,
        thresholds=choose_thresholds(outputs, targets, task, classes, 0.9) if classes else {},
        calibration={"ece_before": 0.1234, "ece_after": 0.04}, findings=found, unreadable=3,
    )  # fmt: skip
    names = [f"{EVIL}/{row}.jpg" for row in range(count)]
    return facts, Examined("test", names, outputs, targets, (lambda rows: pixels[rows]) if images else None)


def mapped(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return 255 - images


def page(task: str, classes: list[str], images: bool = True) -> str:
    return render_report(*make(task, classes, images), mapped)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    long = [f"class {number} with a very long name that somebody has given it" for number in range(40)]
    return {
        "two classes": page("single_label", ["ants", f"bees {EVIL}"]),
        "many classes": page("single_label", long),
        "several labels": page("multi_label", ["cats", "dogs", EVIL]),
        "numbers": page("regression", []),
        "texts": page("single_label", [f"topic-{number}" for number in range(10)], images=False),
    }


def test_what_everyone_finds_in_it(pages):
    for kind, text in pages.items():
        assert len(text) < 3_000_000 and "A note." in text and "the line of the terminal" in text, kind
        assert "--frozen-epochs" in text and "Loss over 3 epochs" in text and "3 unreadable files" in text, kind
        assert "Serious:" in text and "The same image twice." in text, kind
        assert not re.search(r'(?:src|href)="(?!data:|#)', text), f"{kind}: something outside of the file"


def test_findings_are_shown_with_the_images_that_are_at_hand():
    facts, examined = make("single_label", ["ants", "bees"])
    facts.findings[0]["paths"] = ["a.jpg", "gone.jpg"]
    known = {"a.jpg": np.zeros((40, 40, 3), np.uint8)}
    text = render_report(facts, dataclasses.replace(examined, find=known.get), None).partition('id="data"')[2]
    assert text.count("<img") == 1 and "<small>a.jpg</small>" in text


def test_untrusted_text_is_escaped(pages):
    assert all("<script" not in text for text in pages.values())
    assert "&lt;script&gt;alert" in pages["two classes"]


class Tags(HTMLParser):
    """The start tags of a page, each with its attributes, and the names of those that were left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_screen_reader_finds_its_way(pages):
    for kind, text in pages.items():
        found = Tags(text)
        assert not found.open, kind
        names = [tag for tag, _ in found.tags]
        assert names.count("main") == names.count("h1") == 1 and names.count("caption") == names.count("table"), kind
        assert all(attributes["alt"] for tag, attributes in found.tags if tag == "img"), kind
        assert all(attributes["aria-label"] for tag, attributes in found.tags if tag == "svg"), kind
        ids = [attributes["id"] for tag, attributes in found.tags if "id" in attributes and tag != "path"]
        assert set(re.findall(r'aria-labelledby="(\w+)"', text)) <= set(ids), kind


def test_what_each_task_shows(pages):
    two, many = pages["two classes"], pages["many classes"]
    assert "Confusion matrix" in two and "Most confused pairs" not in two
    assert "Most confused pairs" in many and "Confusion matrix" not in many and "lowest F1 of 40" in many
    assert "0.123 and is\n0.040 (ECE" in two and "Operating points" in two
    assert "a confidence below" in pages["texts"] and "No prediction is called “unsure”" in two
    for kind in ("two classes", "texts", "many classes"):
        assert all(words in pages[kind] for words in ("Accuracy of the more confident half", "Least confident right"))
    assert "does not have this label" in pages["several labels"] or "has this label" in pages["several labels"]
    assert "Accuracy of the more confident half" not in pages["several labels"]
    assert "Predicted against true numbers of 200" in pages["numbers"] and "Largest errors" in pages["numbers"]
    assert "reliability" not in pages["numbers"]
    assert "<img" not in pages["texts"] and "200 test" in pages["texts"] and two.count("<img") == 2 * 8 + 16


def test_the_examples_are_the_worst_ones():
    outputs = np.array([[0.9, 0.2], [0.4, 0.6], [0.3, 0.7], [0.05, 0.95]])
    targets = np.eye(2)[[0, 0, 1, 0]]
    wrong, right, labels = choose_examples(Examined("test", [], outputs, targets, None), "single_label")
    assert (wrong.tolist(), right.tolist(), labels.tolist()) == ([3, 1], [2, 0], [0, 1, 1, 1])
    wrong, right, labels = choose_examples(Examined("test", [], outputs, targets, None), "multi_label")
    assert wrong.tolist() == [3, 1] and right.tolist() == [2, 0]
    numbers = np.array([[1.0], [5.0], [2.0]])
    wrong, right, _ = choose_examples(Examined("test", [], numbers, np.zeros((3, 1)), None), "regression")
    assert wrong.tolist() == [1, 2, 0] and not len(right)


def test_without_maps_the_report_says_why():
    def fail(images, classes):
        raise ValueError("This model has no feature maps.")

    text = render_report(*make("single_label", ["ants", "bees"]), fail)
    assert "This model has no feature maps." in text and "in red</p>" not in text and text.count("<img") == 8 + 16


def test_what_an_earlier_version_did_not_write():
    facts, examined = make("single_label", ["ants", "bees"])
    old = {"count": 3, "loss": 0.1, "accuracy": 0.5, "accuracy_interval_95": [0.25, 0.75]}
    bare = Facts(
        facts.title, facts.task, facts.classes, "image", "images", {}, {}, {"test": "x"}, {"test": old}
    )  # fmt: skip
    text = render_report(bare, examined)
    assert "0.250–0.750" in text and "no <code>findings.json</code>" in text


def test_the_model_card_is_one_of_hugging_face():
    facts, _ = make("single_label", ["ants", "bees"])
    text = render_model_card(facts, "test", "image")
    _, front, body = text.split("---\n", 2)
    front = yaml.safe_load(front)
    assert (front["library_name"], front["pipeline_tag"]) == ("keras", "image-classification")
    (result,) = front["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test"
    values = {entry["type"]: entry["value"] for entry in result["metrics"]}
    assert values["accuracy"] == round(facts.metrics["test"]["accuracy"], 4) and set(values) == set(front["metrics"])
    low, high = facts.metrics["test"]["intervals_95"]["accuracy"]
    assert f"{low:.3f}–{high:.3f}" in body and body.count("*to be filled in*") >= 4 and "<script" not in body
    numbers, _ = make("regression", [])
    front = yaml.safe_load(render_model_card(numbers, "test", "image").split("---\n")[1])
    assert front["metrics"] == ["mae", "mse"] and "pipeline_tag" not in front


MEASURE = """<script>
window.addEventListener("load", () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, root = page.documentElement;
    found[frame.title] = {
      overflow: root.scrollWidth - frame.clientWidth,
      broken: [...page.images].filter(image => !image.naturalWidth).length,
      flat: [...page.querySelectorAll("svg")].filter(plot => plot.getBoundingClientRect().height < 100).length,
      ink: frame.contentWindow.getComputedStyle(page.body).color,
      paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    };
  }
  document.body.textContent = JSON.stringify(found);
});
</script>"""


def test_no_name_is_markup_in_the_model_card():
    facts, _ = make("single_label", ["a*b*", "_x_", "c|d", "my_class"])
    text = render_model_card(dataclasses.replace(facts, about={"classes": ", ".join(facts.classes)}), "test", "image")
    assert r"a\*b\*, \_x\_, c\|d, my_class" in text


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_without_errors(pages, tmp_path, dark):
    frames = "".join(
        f'<iframe title="{kind}, {width}" style="width: {width}px; height: 900px; border: 0" '
        f'srcdoc="{html.escape(text)}"></iframe>'
        for kind, text in pages.items() for width in (400, 1280)
    )  # fmt: skip
    (tmp_path / "frames.html").write_text(f"<!DOCTYPE html><body>{frames}{MEASURE}", encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=10000", "--dump-dom", (tmp_path / "frames.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = json.loads(html.unescape(re.search(r"<body>(\{.*\})", done.stdout)[1]))
    assert len(found) == 2 * len(pages)
    for name, page in found.items():
        assert page["overflow"] <= 0 and not page["broken"] and not page["flat"], f"{name}: {page}"
        ink, paper = (sum(map(int, re.findall(r"\d+", page[part])[:3])) for part in ("ink", "paper"))
        assert (ink > 600 and paper < 150) if dark else (ink < 150 and paper > 600), f"{name}: {page}"
