"""Texts: files and cells, what is skipped, and what a folder or a table is taken for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.data import DataOptions
from tlkeras.config.train import AugmentOptions
from tlkeras.data.loading import decode_all
from tlkeras.data.pipeline import SplitData, evaluation_batches, training_batches
from tlkeras.data.prepare import decode_data, find_data
from tlkeras.data.sources import find_examples
from tlkeras.errors import UserError
from tlkeras.extras.hub.spec import module_spec
from tlkeras.modalities.base import DecodeError, Modality
from tlkeras.modalities.image import ImageModality
from tlkeras.modalities.text import MAX_BYTES, TextModality, read_text

HUB = dataclasses.replace(module_spec("hub:any"), modality="text", folder=Path("any"))  # as if resolved


@pytest.fixture
def write(tmp_path):
    """Return `write({"a/1.txt": "good"})`, which writes files and returns their folder."""

    def make(files: dict[str, str | bytes]) -> str:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(tmp_path)

    return make


def texts_of(listing) -> list[str]:
    return decode_all(listing.examples, TextModality(), 1.0).inputs.tolist()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a good one", "a good one"),
        ("\ufeffwith a mark\r\n", "with a mark"),
        ("  über\nzwei Zeilen \n", "über\nzwei Zeilen"),
        ("x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
)
def test_a_text_is_the_same_from_a_file_and_from_its_bytes(tmp_path, content, text):
    (tmp_path / "one.txt").write_bytes(content.encode())
    assert read_text(tmp_path / "one.txt") == read_text(content.encode()) == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        ("two bytes each".encode("utf-16"), "not UTF-8"),
        (b"caf\xe9", "not UTF-8"),
        (b"x" * (MAX_BYTES + 1), "longer than 1,000,000 bytes"),
    ],
)
def test_what_is_not_text_is_refused_with_its_reason(tmp_path, content, reason):
    (tmp_path / "one.txt").write_bytes(content)
    for source in (tmp_path / "one.txt", content):
        with pytest.raises(DecodeError, match=reason):
            read_text(source)
    with pytest.raises(DecodeError, match="no such file"):
        read_text(tmp_path / "gone.txt")


class TestFolders:
    def test_class_folders(self, write):
        listing = find_examples(write({"bad/1.txt": "no", "good/sub/2.TXT": "yes"}), modality=None)
        assert (listing.modality, listing.classes) == (TextModality, ["bad", "good"])
        assert texts_of(listing) == ["no", "yes"]

    def test_split_folders(self, write):
        files = {f"{split}/{name}/1.txt": split for split in ("train", "val", "test") for name in "ab"}
        listing = find_examples(write(files), modality=TextModality)
        assert [example.split for example in listing.examples] == ["test"] * 2 + ["train"] * 2 + ["validation"] * 2

    def test_a_text_among_images_is_reported(self, write):
        files = {f"{name}/{number}.png": "" for name in "ab" for number in range(10)} | {"a/notes.txt": "seen"}
        for modality in (ImageModality, None):
            listing = find_examples(write(files), modality=modality)
            assert (listing.modality, len(listing.examples)) == (ImageModality, 20)
            assert listing.notes == ["Skipped files with other extensions: .txt (1)."]

    def test_an_image_among_texts_is_reported(self, write):
        files = {f"{name}/{number}.txt": "" for name in "ab" for number in range(10)} | {"a/cover.png": ""}
        listing = find_examples(write(files), modality=TextModality)
        assert (listing.modality, len(listing.examples)) == (TextModality, 20)
        assert listing.notes == ["Skipped files with other extensions: .png (1)."]

    def test_a_mixture_is_refused(self, write):
        folder = write({"a/1.txt": "", "a/2.txt": "", "b/1.txt": "", "b/2.png": "", "b/3.wav": ""})
        with pytest.raises(UserError, match="holds 3 texts and 1 image and 1 audio clip"):
            find_examples(folder, modality=TextModality)

    def test_images_with_a_caption_each_are_images_where_those_are_wanted(self, write):
        folder = write({f"{name}/1.{suffix}": "" for name in "ab" for suffix in ("jpg", "txt")})
        assert len(find_examples(folder).examples) == 2

    def test_texts_where_images_are_wanted(self, write):
        with pytest.raises(UserError, match=r"holds 2 texts, but no images\. Give a backbone that takes them \(hub:"):
            find_examples(write({"a/1.txt": "", "b/1.txt": ""}))

    def test_files_of_no_modality_where_any_would_do(self, write):
        words = r"files that end in \.mp3, \.ogg\. Known are images: .*\.jpg.*; texts: \.txt; audio clips: \.wav\.$"
        with pytest.raises(UserError, match=words):
            find_examples(write({"a/1.mp3": "", "b/1.mp3": "", "b/2.ogg": ""}), modality=None)

    def test_texts_beside_class_folders(self, write):
        with pytest.raises(UserError, match=r"The texts lie directly in .*reviews/good/1.txt"):
            find_examples(write({"1.txt": "", "a/b/c": ""}), modality=TextModality)


class TestTables:
    def find(self, write, table: str | bytes, modality: type[Modality] | None = None):
        return find_examples(write({"list.csv": table}) + "/list.csv", modality=modality)

    def test_texts_in_cells(self, write):
        """They may have quotes, separators and line breaks inside, a byte order mark, white space around them."""
        table = '\ufefftext,label\r\n"Well, ""good""\nand long",good\r\n bad ,bad\r\n\r\nünder,bad\r\n'
        listing = self.find(write, table)
        assert (listing.modality, listing.task, listing.classes) == (TextModality, "single_label", ["bad", "good"])
        assert texts_of(listing) == ['Well, "good"\nand long', "bad", "ünder"]
        assert [example.name for example in listing.examples] == ['line 3: Well, "good" and long', "line 4: bad",
                                                                 "line 6: ünder"]  # fmt: skip

    def test_semicolons_and_splits(self, write):
        table = "Split;Label;Text\ntrain;a;one, two\ntrain;b;three\nval;a;four\nval;b;five\n"
        listing = self.find(write, table, TextModality)
        assert texts_of(listing) == ["one, two", "three", "four", "five"]
        assert [example.split for example in listing.examples] == ["train"] * 2 + ["validation"] * 2

    def test_a_cell_that_lacks_its_quotes(self, write):
        with pytest.raises(UserError, match=r"Line 3 of .* has more cells than the header"):
            self.find(write, "text,label\nfine,a\ngood, they say,b\n")

    def test_a_text_that_is_too_long_is_skipped(self, write):
        listing = self.find(write, f"text,label\nshort,a\n{'x' * (MAX_BYTES + 1)},b\n")
        decoded = decode_all(listing.examples, TextModality(), 1.0)
        assert decoded.inputs.tolist() == ["short"]
        assert [reason for _, reason in decoded.unreadable] == ["longer than 1,000,000 bytes"]

    def test_repeated_texts(self, write):
        listing = self.find(write, "text,label\nso so,a\nso so,a\nso so,b\nfine,b\n")
        assert [(example.name, example.label) for example in listing.examples] == [
            ("line 2: so so", "a"), ("line 4: so so", "b"), ("line 5: fine", "b"),
        ]  # fmt: skip
        assert listing.notes == [
            "Labels are read as one class per text (single_label).",
            "Skipped 1 line that repeats an earlier line.",
            "Kept 1 text with more than one label.",
        ]

    def test_a_text_in_two_splits_is_refused(self, write):
        with pytest.raises(UserError, match="same text twice in different splits, train and test, on lines 2 and 4"):
            self.find(write, "text,label,split\nso so,a,train\nfine,b,train\nso so,a,test\n")

    def test_several_labels_and_numbers(self, write):
        assert self.find(write, "text,label\none,a|b\ntwo,b\n").task == "multi_label"
        assert self.find(write, "text,label\none,1.5\ntwo,2.5\n").task == "regression"

    def test_paths_of_texts(self, write):
        write({"x/1.txt": "one", "x/2.txt": "two"})
        for modality in (None, ImageModality, TextModality):
            listing = self.find(write, "path,label\nx/1.txt,a\nx/2.txt,b\n", modality)
            assert (listing.modality, texts_of(listing)) == (TextModality, ["one", "two"])
            assert listing.notes == ["Labels are read as one class per text (single_label)."]

    def test_path_and_text(self, write):
        write({"1.png": ""})
        table = "path,text,label\n1.png,one,a\n1.png,one,a\n2.png,two,b\n"
        assert self.find(write, table, ImageModality).modality is ImageModality
        assert texts_of(self.find(write, table, TextModality)) == ["one", "two"]

    def test_paths_of_several_modalities(self, write):
        with pytest.raises(UserError, match="holds 1 image and 1 text"):
            self.find(write, "path,label\n1.txt,a\n2.png,b\n")


@pytest.mark.parametrize(
    ("backbone", "options", "image_size", "words"),
    [
        ("MobileNetV2", {}, None, "MobileNetV2 takes images, and .* holds texts. Give images, or a backbone"),
        (HUB, {}, 64, "--image-size was 64; it is for image only, and .* holds texts"),
        (HUB, {"sample_rate": 8000}, None, "--sample-rate was 8000; it is for audio only, and .* holds texts"),
        (HUB, {"seconds": 2}, None, "--seconds was 2; it is for audio only"),
    ],
)
def test_what_does_not_go_with_texts_is_refused_before_anything_slow(write, backbone, options, image_size, words):
    folder = write({"list.csv": "text,label\n" + "".join(f"text {k},{k % 2}\n" for k in range(20))})
    with pytest.raises(UserError, match=words):
        find_data(DataOptions(data=f"{folder}/list.csv", **options), get_backbone_spec(backbone), image_size, 0)


def test_prepared_texts(write):
    files = {f"{name}/{number}.txt": f"{name} {number}" for name in "ab" for number in range(20)}
    options = DataOptions(data=write(files | {"a/broken.txt": b"\xff"}))
    data = decode_data(find_data(options, HUB, None, 0), options, 0)
    assert (data.inputs.dtype, data.inputs.shape) == (object, (40,))
    assert (data.modality, data.modality.options(), data.image_size) == (TextModality(), {}, None)
    assert [text for text, example in zip(data.inputs, data.examples, strict=True) if text[0] != example.label] == []
    assert [reason for _, reason in data.unreadable] == ["not UTF-8"]


def test_batches_of_texts_depend_on_seed_and_epoch_alone_and_are_not_augmented():
    words = np.array([f"word {number} ü" for number in range(10)], object)
    data = SplitData(words, np.arange(1, 9), np.eye(8, dtype="float32"), TextModality)

    def run(first: int, last: int) -> list[tuple[list[str], list[int]]]:
        batches = training_batches(
            data, AugmentOptions(mixup=1.0), batch_size=3, first_epoch=first, last_epoch=last, seed=5
        )
        return [([text.decode() for text in batch.numpy()], targets.numpy().argmax(1).tolist())
                for batch, targets in batches]  # fmt: skip

    both = run(0, 2)
    assert [len(batch) for batch, _ in both] == [3, 3, 2] * 2
    assert run(1, 2) == both[3:] and both[:3] != both[3:]
    for batch, rows in both:
        assert batch == [words[row + 1] for row in rows]
    [(batch, _)] = list(evaluation_batches(data, 8))
    assert [text.decode() for text in batch.numpy()] == words[1:9].tolist()


def test_a_table_is_not_one_text(tmp_path):
    with pytest.raises(UserError, match=r"reviews\.csv is a table, which would be read as one text"):
        TextModality.check_files([tmp_path / "1.txt", tmp_path / "reviews.CSV"], "reviews.csv")
    TextModality.check_files([tmp_path / "1.txt", tmp_path / "2.md"], "*")


def test_the_modality_of_a_run():
    assert TextModality.from_config({"data": "reviews", **TextModality().options()}) == TextModality()
    assert str(TextModality()) == "texts" and TextModality().read(b" fine ") == "fine"


def test_texts_are_not_given_in_memory_or_decoded_for_a_model():
    with pytest.raises(UserError, match=r"Texts cannot be given as arrays or Pillow images\. Give files of them"):
        TextModality.from_memory([np.zeros((4, 4, 3))])
    with pytest.raises(UserError, match=r"Give texts as tlkeras\.split_data returns them"):
        TextModality.from_shape(())
