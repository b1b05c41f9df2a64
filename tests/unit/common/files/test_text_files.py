"""Text files of users: UTF-8 with or without a byte order mark; anything else is refused by its line and byte."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.files.text_files import check_file, read_lines, read_text

WORDS = "person\r\nvélo\r\n"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "labels.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, WORDS.encode(encoding))
    assert list(read_lines(path)) == ["person", "vélo", ""]
    assert read_text(path) == "person\nvélo\n"


def test_a_carriage_return_ends_the_last_line_too(tmp_path: Path) -> None:
    assert read_text(written(tmp_path, b"person\rcar\r")) == "person\ncar\n"
    assert list(read_lines(written(tmp_path, b"person\r\r\n\r"))) == ["person", "", "", ""]


@pytest.mark.parametrize(
    ("encoding", "words", "hint"),
    [
        ("utf-16", "is UTF-16 text", "iconv -f UTF-16"),
        ("utf-32", "is UTF-32 text", "iconv -f UTF-32"),
        ("utf-16-le", "line 1 has a NUL at byte 2", "iconv -f UTF-16"),
        ("utf-16-be", "line 1 has a NUL at byte 1", "iconv -f UTF-16"),
        ("latin-1", "line 2 has 0xe9 at byte 2", "iconv -f WINDOWS-1252"),
        ("cp437", "line 2 has 0x82 at byte 2", "iconv -f WINDOWS-1252"),
    ],
)
def test_another_encoding_is_refused_by_line_and_byte(tmp_path: Path, encoding: str, words: str, hint: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_text(written(tmp_path, WORDS.encode(encoding)))
    assert str(tmp_path / "labels.txt") in caught.value.message
    assert hint in caught.value.hint


def test_a_git_lfs_pointer_is_named_as_such(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    with pytest.raises(InvalidInputError, match="Git LFS pointer") as caught:
        read_text(written(tmp_path, pointer))
    assert "git lfs pull" in caught.value.hint


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no file .*missing"):
        read_text(tmp_path / "missing")
    with pytest.raises(InvalidInputError, match="Is a directory"):
        read_text(tmp_path)


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40), marked=st.booleans())
def test_any_text_is_read_as_python_reads_it(text: str, marked: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("text") / "file"
    path.write_bytes(text.encode("utf-8-sig" if marked else "utf-8"))
    assert read_text(path) == path.read_text(encoding="utf-8-sig")


def test_a_pipe_is_read_too(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\xef\xbb\xbfcar\n")
    os.close(writing)
    assert read_text(Path(f"/dev/fd/{reading}")) == "car\n"
    os.close(reading)


def test_a_folder_in_place_of_a_file_is_called_a_folder(tmp_path: Path) -> None:
    """Commands that read recordings and models reported that "there is no file" of that name."""
    with pytest.raises(InvalidInputError, match="is a folder, not a file"):
        check_file(tmp_path)
    with pytest.raises(NotFoundError, match=r"there is no file .*missing") as caught:
        check_file(tmp_path / "missing", "check the path of the model")
    assert caught.value.hint == "check the path of the model"
