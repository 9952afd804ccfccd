"""The page in headless Chromium: images go in as a person drops them, classes, "unsure" and maps come out."""

import base64
import html
import json
import re
import shutil
import subprocess

import pytest
from color_service import encoded

from tlkeras.serving import app

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None)
FILES = {
    "red.png": encoded("red"),
    "gray.jpg": encoded("gray", (60, 30), "jpeg"),
    "scan.tiff": encoded("blue", format="tiff"),
    "<img src=x onerror=document.title='broken'>.txt": b"hello",
}
# Drops the files, waits for the answers, and leaves what it finds as the text of the page.
VISIT = """<script>
addEventListener("load", async () => {
  const transfer = new DataTransfer();
  for (const [name, content] of Object.entries(FILES))
    transfer.items.add(new File([Uint8Array.from(atob(content), letter => letter.charCodeAt(0))], name));
  document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
  const cards = () => [...document.querySelectorAll("#results > li")];
  const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));
  while (cards().length < 4 || cards().some(card => card.ariaBusy === "true")) await pause(50);
  await pause(300);
  const style = getComputedStyle(document.body);
  const found = {title: document.title, about: document.getElementById("about").textContent,
    overflow: document.documentElement.scrollWidth - innerWidth, ink: style.color, paper: style.backgroundColor,
    offered: document.getElementById("maps").checkVisibility(),
    focus: (document.getElementById("files").focus(), document.activeElement.id), cards: {}};
  for (const card of cards()) found.cards[card.querySelector("h2").textContent] = {
    images: [...card.querySelectorAll("img")].map(image => image.naturalWidth),
    labels: [...card.querySelectorAll(".scores span")].map(label => label.textContent),
    bars: [...card.querySelectorAll(".scores i")].map(bar => getComputedStyle(bar).backgroundSize),
    notes: [...card.querySelectorAll("p")].map(note => note.textContent)};
  document.body.textContent = JSON.stringify(found);
});
</script>"""


def visit(client, tmp_path, monkeypatch, width: int, dark: bool) -> dict:
    """Return what the page shows after the files were dropped on it."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars",
        f"--window-size={width},900", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={tmp_path / 'profile'}", "--timeout=20000", "--virtual-time-budget=10000", "--dump-dom",
        f"http://127.0.0.1:{client.port}/",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert all("404" in line or "422" in line for line in console), console  # answers that the page shows itself
    return json.loads(html.unescape(re.search(r"<body>(\{.*\})", done.stdout, re.DOTALL)[1]))


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Put the visit into the page that services serve."""
    files = {name: base64.b64encode(content).decode() for name, content in FILES.items()}
    text = app.PAGE.read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(text.replace("</body>", VISIT.replace("FILES", json.dumps(files)) + "</body>"))
    monkeypatch.setattr(app, "PAGE", tmp_path / "page.html")


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize(("width", "dark"), [(400, True), (1280, False)])
def test_dropped_images_are_shown_with_their_classes(start, page, tmp_path, monkeypatch, width, dark):
    monkeypatch.setattr("tlkeras.serving.explain.Explainer.has_model", True)
    monkeypatch.setattr("tlkeras.serving.explain.Explainer.png", lambda *_: encoded("blue", (16, 16)))
    found = visit(start(), tmp_path, monkeypatch, width, dark)
    assert (found["title"], found["about"]) == ("colors", "Predicts 3 classes: red, green, blue")
    red, gray, scan, text = (found["cards"][name] for name in FILES)
    assert red["images"] == [20, 16] and red["labels"][0] == "red" and not red["notes"]
    assert red["bars"][0].startswith("98") and len(red["bars"]) == 3
    assert gray["images"] == [60, 16] and gray["notes"] == ["Unsure: let a person look at it"]
    assert scan["images"] == [16] and scan["labels"][0] == "blue"  # Chromium shows no TIFF, the map is a PNG
    assert text["notes"] == ["This file cannot be read: not a valid JPEG, PNG, WebP, GIF, BMP or TIFF image"]
    assert found["overflow"] <= 0 and found["focus"] == "files" and found["offered"]
    ink, paper = (sum(map(int, re.findall(r"\d+", found[part])[:3])) for part in ("ink", "paper"))
    assert (ink > 600 and paper < 150) if dark else (ink < 150 and paper > 600)


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_where_there_are_no_maps_the_page_offers_none(start, page, tmp_path, monkeypatch):
    found = visit(start(), tmp_path, monkeypatch, 1280, False)
    assert found["cards"]["red.png"]["images"] == [20]
    assert not found["cards"]["red.png"]["notes"] and not found["offered"]


def test_the_page_loads_nothing_from_elsewhere(start):
    answer = start().get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.findall(rb"""(?:src|href)\s*=\s*["'](?!data:)|https?://|@import|url\(""", answer.body)
