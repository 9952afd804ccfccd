"""CSV files of paths and labels, and what is said about mistakes in them."""

import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from tlkeras.data.sources import find_examples
from tlkeras.data.splits import split_examples
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


def test_groups(table):
    text = "path,label,group\na.png,cat,p1\nb.png,dog,\nc.png,cat,nan\nd.png,dog,p1\n"
    assert [example.group for example in find_examples(table(text)).examples] == ["p1", None, None, "p1"]
    assert "splits or groups, on lines 2 and 6" in refusal(table(text + "a.png,cat,p2\n"))


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


def test_whole_numbers_with_a_point_are_the_same_classes(table):
    """As pandas and spreadsheets write a column of 0 and 1 in which a cell was empty once."""
    source = find_examples(table("path,label\na.png,1.0\nb.png,0.0\nc.png,1\n"))
    assert (source.task, source.classes) == ("single_label", ["0", "1"])
    assert "--task regression reads quantities" in source.notes[0]
    assert find_examples(table("path,label\na.png,1.0\nb.png,0\nc.png,1\n"), "single_label").classes == ["0", "1"]


@pytest.mark.parametrize(
    ("first", "second", "advice"),
    [
        ("cat, old", "dog, new", "'cat, old' is read as one class. If it is several, write cat|old."),
        ("cat;old", "dog", "write cat|old."),
        ("NA", "dog", "The label NA is read as a class."),
        ("cat", "CAT", "case or spaces alone: CAT = cat"),
    ],
)
def test_labels_that_may_mean_something_else_are_told(table, first, second, advice):
    source = find_examples(table(f'path,label\na.png,"{first}"\nb.png,"{second}"\n'))
    assert source.task == "single_label" and advice in source.notes[-1]


def test_labels_joined_by_a_space_are_told_where_few_words_are_combined(table):
    rows = [f"{kind} {age}" for kind in ("cat", "dog", "owl") for age in ("old", "new", "big")]
    lines = "".join(f"{number}.png,{row}\n" for number, row in enumerate(rows))
    assert "write cat|big." in find_examples(table(f"path,label\na.png,cat new\n{lines}")).notes[-1]
    names = find_examples(table("path,label\na.png,golden retriever\nb.png,labrador retriever\n"))
    assert len(names.notes) == 1


def test_lists_as_pandas_writes_them_are_several_labels(table):
    source = find_examples(table('path,label\na.png,"[\'cat\', \'big\']"\nb.png,[]\nc.png,"[""b\'s nest""]"\n'))
    assert [example.label for example in source.examples] == [("big", "cat"), (), ("b's nest",)]
    assert source.task == "multi_label"


def test_a_space_before_a_quote_is_no_part_of_a_name(table):
    assert find_examples(table('path, label\na.png, "x, y"\nb.png, z\n')).classes == ["x, y", "z"]


def test_ages_that_look_like_classes_name_the_regression(table):
    source = find_examples(table("path,label\na.png,18\nb.png,19\nc.png,20\n"))
    with pytest.raises(UserError, match="If these numbers are quantities, give --task regression"):
        split_examples(source.examples, source.task, (0.15, 0.15), seed=0)


def test_names_are_compared_in_one_unicode_form(write):
    names = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    root = write(f"a/{names[0]}", f"b/{names[1]}")
    lines = f"a/{names[1]},{names[0]}\nb/{names[0]},{names[1]}\n"
    (root / "labels.csv").write_text(f"path,label,split\n{lines.replace(chr(10), ',train' + chr(10))}", "utf-8")
    source = find_examples(str(root / "labels.csv"), training=False)
    assert source.classes == [names[0]] and all(example.path.is_file() for example in source.examples)


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
        ("path,label\na.png,x\nb.png,y,z\n", "Line 3 .* more cells than the header"),
        ("path,label\na.png,x\nb.png,nan\n", "Line 3 .* has no label .empty, or NaN"),
        ("path,label\na.png,1.5\nb.png,NaN\n", "label on line 3 .* is empty, or NaN. Regression"),
        ('path,label\na.png,"20,5"\nb.png,"21,5"\n', r"Write a number with a point, 20\.5, .* 20\|5"),
        ("path,label\na.png,['x' 'y']\nb.png,['z']\n", "label on line 2 .* joined by"),
        ("path,label\na.png,[x]\nb.png,[y]\n", "label on line 2 .* joined by"),
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


@pytest.mark.parametrize("odd", ['"1,000"', "50%", "inf"])
def test_numbers_that_are_not_plain_are_refused(table, odd):
    assert "Write numbers in plain digits" in refusal(table(f"path,label\na.png,{odd}\nb.png,2\nc.png,2\n"))


def test_two_columns_of_one_name_are_refused(table):
    assert "several columns called label" in refusal(table("path,label,label\na.png,cat,dog\n"))
