"""The hash of a file's content names its runs, so its values are written here.

If a test fails, do not change the value: the ids of files that were counted would change, and events would count twice.
"""

from pathlib import Path

from countline_pipelines.sources.content import content_hash


def test_the_hash_of_one_file_is_fixed(tmp_path: Path) -> None:
    file = tmp_path / "first"
    file.write_bytes(b"first file")
    assert content_hash(file) == "7aba5c674111a2de"


def test_the_hash_of_two_files_is_fixed_and_depends_on_their_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"first file")
    second.write_bytes(b"second file")
    assert content_hash(first, second) == "0258fb92d23dd6a6"
    assert content_hash(second, first) == "d7484b5795a870d4"


def test_the_border_between_two_files_is_part_of_their_hash(tmp_path: Path) -> None:
    names = ("a", "bc", "ab", "c")
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    a, bc, ab, c = (tmp_path / name for name in names)
    assert content_hash(a, bc) != content_hash(ab, c)
