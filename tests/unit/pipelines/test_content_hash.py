"""The hash of a file's content names its runs, so its values are written here.

If a test fails, do not change the value: the ids of files that were counted would change, and events would count twice.
"""

from pathlib import Path

from countline_pipelines.sources.content import content_hash


def test_the_hash_of_one_file_is_fixed(tmp_path: Path) -> None:
    file = tmp_path / "first"
    file.write_bytes(b"first file")
    assert content_hash(file) == "dedcbba45d973083"


def test_the_hash_of_two_files_is_fixed_and_depends_on_their_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"first file")
    second.write_bytes(b"second file")
    assert content_hash(first, second) == "f31ddaee79d2af97"
    assert content_hash(second, first) == "0eafc79be5a03c08"
