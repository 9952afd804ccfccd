"""What may stand behind `tfds:`; nothing is loaded for it."""

from pathlib import Path

import pytest

from tlkeras.data.tfds import parse_name, public_name, short_name
from tlkeras.errors import UserError


def parts(text: str) -> list[tuple[str, str | None]]:
    return [(rule, split) for split, rule in parse_name(text).parts.items()]


@pytest.mark.parametrize(
    "name", ["beans", "emnist/letters", "beans:0.1.0", "coco/2017:1.*.*", "imagenet_v2/threshold-0.7:3.0.0"]
)
def test_names_are_those_of_tfds(name):
    assert parse_name(name).name == name
    assert parts(name) == []
    assert parse_name(f"{name}:train[:10%]").name == name
    assert parts(f"{name}:train[:10%]") == [("train[:10%]", None)]


@pytest.mark.parametrize(
    "rule", ["train", "train[:80%]", "train[10:-5]", "train[2.5%:50%]", "train+test", "train[:9]+all"]
)
def test_one_part_is_split_here(rule):
    assert parts(f"beans:{rule}") == [(rule, None)]


def test_parts_say_what_they_are_for():
    expected = [("train[:90%]", "train"), ("train[90%:]", "validation"), ("test+extra", "test")]
    assert parts("beans:train=train[:90%],validation=train[90%:],test=test+extra") == expected
    assert parts("beans: train = train[:90%] , VAL=train[90%:], test = test + extra") == expected
    assert parts("beans:train=train") == [("train", "train")]


def test_a_part_without_a_word_is_for_what_its_name_says():
    assert parts("beans:train[:80%],valid,test[:50]") == [
        ("train[:80%]", "train"),
        ("valid", "validation"),
        ("test[:50]", "test"),
    ]


def test_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine/1.0.0").mkdir(parents=True)
    assert parse_name("mine/1.0.0").folder is None  # a dataset with a config, unless the folder holds a prepared one
    Path("mine/1.0.0/dataset_info.json").touch()
    assert parse_name("mine/1.0.0").folder == Path("mine/1.0.0")
    assert parse_name("./other").folder == Path("other")
    assert parse_name("~/other").folder == Path.home() / "other"
    assert parse_name("/data/mine/1.0.0").folder == Path("/data/mine/1.0.0")
    assert parts("/data/mine/1.0.0:train[:1],test") == [("train[:1]", "train"), ("test", "test")]


@pytest.mark.parametrize(
    ("text", "short", "public"),
    [
        ("coco/2017:1.*.*:train[:9],test", "tfds coco/2017:1.*.*", "tfds:coco/2017:1.*.*:train[:9],test"),
        ("/home/me/mine/1.0.0:train=train[:1]", "tfds mine 1.0.0", "tfds:mine/1.0.0:train=train[:1]"),
    ],
)
def test_names_for_others(text, short, public):
    assert (short_name(text), public_name(text)) == (short, public)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "tfds: is not understood. Write tfds:NAME"),
        ("beans:", "tfds:beans: is not understood"),
        ("be ans", "tfds:be ans is not understood"),
        ("beans/", "tfds:beans/ is not understood"),
        ("beans:1.2", "The part '1.2' of tfds:beans:1.2 is not understood"),
        ("beans:train[:80%", "The part 'train[:80%' of"),
        ("beans:train[80%]", "The part 'train[80%]' of"),
        ("beans:train[:]", "The part 'train[:]' of"),
        ("beans:train,,test", "The part '' of"),
        ("beans:train=", "The part 'train=' of"),
        ("beans:train+", "The part 'train+' of"),
        ("beans:train=a=b", "What the part 'train=a=b' of tfds:beans:train=a=b is for is not known"),
        ("beans:other=train", "What the part 'other=train' of tfds:beans:other=train is for is not known"),
        ("beans:train,extra", "Put train=, validation= or test= in front"),
        ("beans:train,train+test", "What the part 'train+test'"),
        ("beans:train[:9],train[9:]", "join them with a plus: train=train[:9]+train[9:]"),
        ("beans:test=a,testing=b", "has two parts for test, a and b"),
    ],
)
def test_what_is_not_understood(text, words):
    with pytest.raises(UserError) as refused:
        parse_name(text)
    assert words in str(refused.value)
