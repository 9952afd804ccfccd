"""Sources of examples, and what is said about mistakes in them."""

import builtins
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tlkeras.data.example import split_of
from tlkeras.data.sources import find_examples, short_name
from tlkeras.errors import UserError
from tlkeras.modalities.image import read_rgb


@pytest.fixture
def write(tmp_path):
    """Return a function that writes small images (other files are empty) and returns the root folder."""

    def write(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix.lower() in Image.registered_extensions():
                Image.new("RGB", (4, 4)).save(path)
            else:
                path.touch()
        return tmp_path

    return write


def listed(source) -> list[tuple]:
    return [(example.name, example.label, example.split) for example in source.examples]


def refusal(data, task="auto") -> str:
    with pytest.raises(UserError) as error:
        find_examples(str(data), task)
    return str(error.value)


# Folders


def test_a_folder_of_images_loads_no_other_source(write):
    root = write("a/1.png", "b/1.png")
    code = f"""
import sys
import tlkeras.cli, tlkeras.run.job
from tlkeras.data.example import split_of
from tlkeras.data.sources import find_examples
find_examples({str(root)!r})
others = ("data.csv_file", "data.digits", "io.network", "config.old_names")
print([name for name in others if f"tlkeras.{{name}}" in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_folder_of_class_folders(write):
    root = write("rose/b.jpg", "rose/deep/er/a.PNG", "daisy/c.webp", "daisy/d.TIFF", "daisy/e.jfif")
    source = find_examples(str(root))
    assert listed(source) == [
        ("daisy/c.webp", "daisy", None),
        ("daisy/d.TIFF", "daisy", None),
        ("daisy/e.jfif", "daisy", None),
        ("rose/b.jpg", "rose", None),
        ("rose/deep/er/a.PNG", "rose", None),
    ]
    assert (source.task, source.classes, source.notes) == ("single_label", ["daisy", "rose"], [])
    assert all(example.path == root / example.name and example.content is None for example in source.examples)


def test_hidden_files_are_ignored_and_others_are_counted(write):
    root = write(
        "a/1.png", "b/2.png", "a/.3.png", ".git/c/4.png", "__MACOSX/a/5.png", "a/.hidden/6.png", "a/__MACOSX/7.png",
        "a/8.heic", "b/9.HEIC", "b/notes.txt", "b/README", "empty/.keep", "10.png",
    )  # fmt: skip
    source = find_examples(str(root))
    assert [example.name for example in source.examples] == ["a/1.png", "b/2.png"]
    assert source.notes == [
        "Ignored the folder empty: it holds no images.",
        f"Skipped 1 image directly in {root}, outside of the class folders.",
        "Skipped files with other extensions: .heic (2), .txt (1), none (1).",
        "Ignored hidden and system folders: .git, .hidden, __MACOSX. Rename one to use it.",
    ]


def test_class_folder_may_be_a_link(write, tmp_path):
    root = write("data/a/1.png", "elsewhere/2.png") / "data"
    (root / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert [example.name for example in find_examples(str(root)).examples] == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize("validation", ["validation", "val", "Valid"])
def test_train_validation_and_test_folders(write, validation):
    root = write("Train/a/1.png", "Train/b/2.png", f"{validation}/a/3.png", "test/b/4.png")
    assert sorted(listed(find_examples(str(root)))) == sorted(
        [
            ("Train/a/1.png", "a", "train"),
            ("Train/b/2.png", "b", "train"),
            (f"{validation}/a/3.png", "a", "validation"),
            ("test/b/4.png", "b", "test"),
        ]
    )


def test_train_and_test_only(write):
    root = write("train/a/1.png", "train/b/2.png", "test/a/3.png")
    assert Counter(split for _, _, split in listed(find_examples(str(root)))) == {"train": 2, "test": 1}


def test_train_alone_is_split_like_any_folder(write):
    assert listed(find_examples(str(write("train/a/1.png", "train/b/2.png")))) == [
        ("train/a/1.png", "a", None),
        ("train/b/2.png", "b", None),
    ]


def test_train_may_be_a_class(write):
    assert find_examples(str(write("plane/1.png", "train/2.png", "car/3.png"))).classes == ["car", "plane", "train"]


def test_train_with_class_folders_is_a_split_whatever_is_beside_it(write):
    source = find_examples(str(write("train/a/1.png", "train/b/1.png", "extra/1.png")))
    assert listed(source) == [("train/a/1.png", "a", None), ("train/b/1.png", "b", None)]
    assert "Ignored folders beside train: extra." in source.notes


def test_class_folder_that_cannot_be_opened(write, monkeypatch):
    def scandir(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert "b cannot be opened: Permission denied" in refusal(write("a/1.png", "b/1.png"))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Training Data", "Test Data"),
        ("train_images", "test1"),
        ("trainset", "testset"),
    ],
)
def test_splits_in_many_spellings(write, train, test):
    source = find_examples(str(write(f"{train}/cat/1.png", f"{train}/dog/2.png", f"{test}/cat/3.png")))
    assert (source.classes, [example.split for example in source.examples].count("train")) == (["cat", "dog"], 2)
    assert {example.split for example in source.examples} == {"train", "test"}
    said = f"Read as splits: {test.split('/')[0]} (test), {train.split('/')[0]} (train). Rename these folders if"
    assert sorted(said) == sorted(source.notes[0][: len(said)])


def test_dev_is_validation_and_that_is_said(write):
    source = find_examples(str(write("train/a/1.png", "train/b/2.png", "dev/a/3.png")))
    assert Counter(split for _, _, split in listed(source)) == {"train": 2, "validation": 1}
    assert source.notes == ["Read as splits: dev (validation). Rename these folders if they are classes."]


@pytest.mark.parametrize("name", ["contest", "latest images", "sets", "trains", "evalue", "photos"])
def test_words_that_are_no_split(name):
    assert split_of(name) is None


def test_splits_without_train_are_no_classes(write):
    root = write("val/a/1.png", "test/a/2.png")
    assert [example.label for example in find_examples(str(root), training=False).examples] == ["a", "a"]
    assert "has no training images, only test and validation" in refusal(root)


def test_a_split_among_class_folders_is_told(write):
    source = find_examples(str(write("cat/1.png", "dog/2.png", "test/3.png")))
    assert source.classes == ["cat", "dog", "test"] and source.notes[0].startswith("Read test as a class")


@pytest.mark.parametrize("unlabeled", ["test/1.png", "test/test/1.png", "test/unknown/1.png", "val/1.png"])
def test_a_split_without_labels_does_not_stop_training(write, unlabeled):
    source = find_examples(str(write("train/cat/1.png", "train/dog/2.png", unlabeled)))
    assert listed(source) == [("train/cat/1.png", "cat", None), ("train/dog/2.png", "dog", None)]
    assert (
        f"folder {unlabeled.partition('/')[0]}: it has no images in folders named as those in train" in source.notes[-1]
    )


def test_system_folders_are_ignored_and_told(write):
    odd = ["@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information"]
    root = write("cat/1.png", "dog/2.png", "cat/@eaDir/1.png/thumb_S.jpg", *(f"{name}/3.png" for name in odd))
    source = find_examples(str(root))
    assert len(source.examples) == 2
    assert source.notes == [f"Ignored hidden and system folders: {', '.join(sorted(odd))}. Rename one to use it."]


def test_system_folders_beside_splits_are_told_too(write):
    notes = find_examples(str(write("train/a/1.png", "train/b/2.png", "@eaDir/3.png"))).notes
    assert notes == ["Ignored hidden and system folders: @eaDir. Rename one to use it."]


def test_a_copy_of_the_tree_is_ignored_and_told(write):
    source = find_examples(str(write("cat/1.png", "dog/2.png", "all/cat/1.png", "all/dog/2.png")))
    assert len(source.examples) == 2
    assert source.notes == [
        "Ignored the folder all: it repeats the class folders cat, dog. Move what is in it there if it is something "
        "else."
    ]


def test_class_folders_one_level_too_high_are_told(write):
    source = find_examples(str(write("images/cat/1.png", "images/dog/2.png", "docs/3.png")))
    assert "Class folders with folders of their own: images (cat, dog)." in source.notes[0]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_compared_in_one_unicode_form(write, form):
    source = find_examples(str(write(unicodedata.normalize(form, "café/1.png"), "thé/2.png")))
    assert source.classes == ["café", "thé"] and source.examples[0].name == "café/1.png"
    assert source.examples[0].path.exists()


def test_classes_that_differ_in_case_alone_are_told(write):
    source = find_examples(str(write("cat/1.png", "Cat/2.png", "CAT/3.png", "dog/4.png")))
    assert source.notes == [
        "Classes that differ in case or spaces alone: CAT = Cat = cat. Rename them if they are one class."
    ]


def test_folders_beside_train_are_mentioned(write):
    root = write("train/a/1.png", "train/b/2.png", "val/a/3.png", "unlabeled/x/4.png")
    source = find_examples(str(root))
    assert len(source.examples) == 3
    assert source.notes == ["Ignored folders beside train: unlabeled."]


def test_class_that_is_never_trained(write):
    root = write("train/a/1.png", "train/b/2.png", "val/a/3.png", "val/c/4.png")
    assert "validation images" in refusal(root)
    assert "c" in refusal(root).split("lack: ")[1]


def test_two_folders_for_one_split(write):
    root = write("train/a/1.png", "train/b/2.png", "val/a/3.png", "valid/a/4.png")
    assert "two folders for validation: val and valid" in refusal(root)


def test_images_without_class_folders(write):
    assert "lie directly in" in refusal(write("1.png", "2.png"))
    assert ".csv" in refusal(write("1.png", "2.png"))


def test_images_without_class_folders_below_train(write):
    assert "lie directly in" in refusal(write("train/1.png", "test/a/1.png", "test/b/2.png"))


def test_one_class_only(write):
    assert "one class only, 'flowers'" in refusal(write("flowers/daisy/1.png", "flowers/rose/2.png"))


def test_no_images(write):
    message = refusal(write("a/notes.txt"))
    assert "holds 1 text, but no images" in message
    assert ".jfif" in message
    assert "one subfolder per class" in message


def test_missing_folder(tmp_path):
    assert f"no folder or file {tmp_path / 'gone'}" in refusal(tmp_path / "gone")


def test_file_that_is_not_a_table(write):
    assert "not a .csv" in refusal(write("a.png") / "a.png")


def test_tasks_that_a_folder_does_not_have(write):
    root = write("a/1.png", "b/2.png")
    assert find_examples(str(root), "single_label").task == "single_label"
    assert "holds single_label labels" in refusal(root, "regression")
    assert "'classify'" in refusal(root, "classify")


# Digits


def test_digits_are_written_once_as_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_CACHE", str(tmp_path / "cache"))
    source = find_examples("digits")
    assert (source.name, len(source.examples)) == ("digits", 1797)
    assert source.classes == [str(digit) for digit in range(10)]
    first = source.examples[0]
    assert (first.name, first.label) == ("0/0000.png", "0")
    image = read_rgb(first.path)
    assert (image.size, image.getextrema()) == ((8, 8), ((0, 239),) * 3)  # 15 of the 16 levels
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["digits"]
    first.path.unlink()
    assert len(find_examples("digits").examples) == 1796  # read again, not written again


def test_digits_are_not_left_half_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_CACHE", str(tmp_path))
    with monkeypatch.context() as broken:
        broken.setattr(Image.Image, "save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            find_examples("digits")
    assert list(tmp_path.iterdir()) == []


# TensorFlow Datasets; tests/data/tfds/test_tfds.py reads real ones


def test_project_without_tfds(monkeypatch):
    monkeypatch.setattr("pkgutil.iter_modules", lambda paths: [])
    said = "--data was tfds:beans, but this project was made without TensorFlow Datasets; .* --with tfds .* or digits"
    assert re.search(said, refusal("tfds:beans"))
    with pytest.raises(UserError, match=said):
        short_name("tfds:beans")


def test_other_words_before_a_colon(write, monkeypatch):
    said = "nothing in this project begins with folder:. Give a folder, a CSV file, digits or tfds:NAME."
    assert said in refusal("folder:photos")
    monkeypatch.chdir(write("photos:new/a/1.png", "photos:new/b/2.png"))
    assert find_examples("photos:new").classes == ["a", "b"]
    assert short_name("photos:new") == "photos:new"


def test_tfds_is_optional(monkeypatch):
    real_import = builtins.__import__

    def without_tfds(name, *args, **kwargs):
        if name == "tensorflow_datasets":
            raise ImportError("No module named 'tensorflow_datasets'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tfds)
    assert "pip install tensorflow-datasets" in refusal("tfds:beans")
