"""Files go into the quarantine and come back, to the byte; nothing is replaced or removed."""

import pytest

from tlkeras.data.quarantine import FOLDER, bring_back, move_away
from tlkeras.errors import UserError


def content(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path):
    for name in ("train/a/1.png", "train/a/2.png", "test/b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_there_and_back_in_two_steps(root):
    before = content(root)
    assert move_away(root, ["train/a/1.png"]) == move_away(root, ["test/b/1.png"]) == 1
    assert [path.name for path in (root / "train" / "a").iterdir()] == ["2.png"]
    assert bring_back(root) == 2
    assert content(root) == before and not (root / FOLDER).exists()


def test_what_was_not_moved_before_a_stop_stays(root):
    move_away(root, ["train/a/1.png"])
    (root / FOLDER / "manifest.json").write_text('["train/a/1.png", "train/a/2.png"]')
    assert bring_back(root) == 1 and len(content(root)) == 3


def test_no_file_is_replaced(root):
    move_away(root, ["train/a/1.png"])
    (root / "train/a/1.png").write_bytes(b"another")
    with pytest.raises(UserError, match="cannot come back"):
        bring_back(root)
    with pytest.raises(UserError, match="from an earlier --fix"):
        move_away(root, ["train/a/1.png"])
    assert (root / "train/a/1.png").read_bytes() == b"another"


@pytest.mark.parametrize("text", ['["../../etc/passwd"]', '["/etc/passwd"]', "{}", "no JSON"])
def test_a_damaged_list_moves_nothing(root, text):
    move_away(root, ["train/a/1.png"])
    (root / FOLDER / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        bring_back(root)


def test_nothing_to_undo(root):
    with pytest.raises(UserError, match="nothing to undo"):
        bring_back(root)


def test_links_come_back_too(root):
    (root / "train/a/link.png").symlink_to("2.png")
    move_away(root, ["train/a/link.png", "train/a/1.png"])
    assert bring_back(root) == 2 and not (root / FOLDER).exists()
    assert (root / "train/a/link.png").is_symlink()
