"""CSV files of paths and labels, and what is said about mistakes in them."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from tlkeras.data.sources import find_examples
from tlkeras.errors import UserError


@pytest.fixture
def write(tmp_path):
    """Return a function that writes small images and returns the root folder."""

    def write(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(tmp_path / name)
        return tmp_path

    return write


@pytest.fixture
def table(write):
    """Return a function that writes a.png to d.png and a CSV file, and returns the path of that file."""

    def table(text: str, encoding: str = "utf-8") -> str:
        path = write("a.png", "b.png", "c.png", "d.png") / "labels.csv"
        path.write_text(text, encoding=encoding)
        return str(path)

    return table


def listed(source) -> list[tuple]:
    return [(example.name, example.label, example.split) for example in source.examples]


def refusal(data, task="auto") -> str:
    with pytest.raises(UserError) as error:
        find_examples(str(data), task)
    return str(error.value)


def test_one_label_per_image(table):
    source = find_examples(table("path,label\nb.png,dog\na.png,cat\n\nd.png,dog\n"))
    assert listed(source) == [("a.png", "cat", None), ("b.png", "dog", None), ("d.png", "dog", None)]
    assert (source.task, source.classes) == ("single_label", ["cat", "dog"])
    assert all(example.path.is_file() for example in source.examples)


def test_several_labels_per_image(table):
    source = find_examples(table("path,label\na.png,sky|dog\nb.png,\nc.png,sky | sky\n"))
    assert [example.label for example in source.examples] == [("dog", "sky"), (), ("sky",)]
    assert (source.task, source.classes) == ("multi_label", ["dog", "sky"])
    assert "multi_label" in source.notes[0]


def test_numbers_with_a_point_are_quantities(table):
    source = find_examples(table("path,label\na.png,1\nb.png,-2.5\n"))
    assert [example.label for example in source.examples] == [1.0, -2.5]
    assert (source.task, source.classes) == ("regression", [])
    assert "regression" in source.notes[0]


def test_whole_numbers_are_classes_unless_told_otherwise(table):
    text = "path,label\na.png,1\nb.png,2\n"
    source = find_examples(table(text))
    assert (source.task, source.classes) == ("single_label", ["1", "2"])
    assert "single_label" in source.notes[0]
    assert [example.label for example in find_examples(table(text), "regression").examples] == [1.0, 2.0]
    assert [example.label for example in find_examples(table(text), "multi_label").examples] == [("1",), ("2",)]


def test_explicit_task_reads_bars_as_they_are(table):
    assert find_examples(table("path,label\na.png,x|y\nb.png,z\n"), "single_label").classes == ["x|y", "z"]


def test_split_column(table):
    source = find_examples(table("path,label,split\na.png,x,train\nb.png,y,Train\nc.png,x,val\nd.png,y,test\n"))
    assert [example.split for example in source.examples] == ["train", "train", "validation", "test"]


def test_empty_split_column(table):
    assert {e.split for e in find_examples(table("path,label,split\na.png,x,\nb.png,y,\n")).examples} == {None}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ('Label;Path\nx;a.png\n"y";b.png\n', "utf-8-sig"),
        ("path\tlabel\r\na.png\tx\r\nb.png\ty\r\n", "utf-8"),
        ("path, label ,width\n./a.png, x,3\n.\\b.png,y ,4\n", "utf-8"),
    ],
)
def test_what_spreadsheets_write(table, text, encoding):
    assert listed(find_examples(table(text, encoding))) == [("a.png", "x", None), ("b.png", "y", None)]


def test_images_in_other_folders(write):
    root = write("images/a.png", "tables/b.png")
    (root / "tables" / "labels.CSV").write_text(f"path,label\n../images/a.png,x\n{root}/tables/b.png,y\n")
    assert all(example.path.is_file() for example in find_examples(str(root / "tables" / "labels.CSV")).examples)


def test_repeated_lines_are_skipped(table):
    source = find_examples(table("path,label\na.png,x\nb.png,y\n./a.png,x\n"))
    assert len(source.examples) == 2
    assert "Skipped 1 line that repeats an earlier line." in source.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na.png,x\n", "The columns found are: file, label."),
        ("", "The columns found are: none."),
        ("path,label\n", "no lines below its header"),
        ("path,label\na.png,x\nb.png,\n", "Line 3 .* has no label"),
        ("path,label\na.png,x\n,y\n", "Line 3 .* has no path"),
        ("path,label\na.png,x\nb.png,y\na.png,y\n", "a.png twice, .*lines 2 and 4"),
        ("path,label,split\na.png,x,train\na.png,x,test\n", "a.png twice"),
        ("path,label,split\na.png,x,train\nb.png,y,other\n", "split on line 3 .* is 'other'"),
        ("path,label,split\na.png,x,train\nb.png,y,\n", "split on line 3 .* is ''"),
        ("path,label,split\na.png,x,test\nb.png,y,val\n", "no training images, only test and validation"),
        ("path,label,split\na.png,x,train\nb.png,y,train\nc.png,z,test\n", "test images .* lack: z"),
        ("path,label\na.png,x\nb.png,x\n", "one class only, 'x'"),
        ("path,label\na.png,1.5\nb.png,1.5\n", "have the label 1.5"),
        ("path,label\na.png,|\nb.png,\n", "No image .* has a label"),
        ("path,label\nx/a.png,x\nx/b.png,y\n", "None of the images .* exists"),
    ],
)
def test_mistakes_in_tables(table, text, said):
    with pytest.raises(UserError, match=said):
        find_examples(table(text))


@pytest.mark.parametrize("cell", ["high", "", "nan", "inf", "1,5"])
def test_regression_names_the_line_of_what_is_not_a_number(table, cell):
    with pytest.raises(UserError, match=r"label on line 3 of .* Regression needs a number"):
        find_examples(table(f'path,label\na.png,1.5\nb.png,"{cell}"\n'), "regression")


def test_table_in_another_encoding(table):
    assert "Save it again as CSV UTF-8" in refusal(table("path,label\na.png,für\nb.png,y\n", "latin-1"))


def test_missing_table(tmp_path):
    assert "There is no file" in refusal(tmp_path / "labels.csv")


def test_project_without_the_csv_part(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "tlkeras.data.csv_file", None)
    said = "this project was made without CSV files; the template's tools/new_project.py --with csv"
    assert said in refusal(table("path,label\na.png,x\nb.png,y\n"))
