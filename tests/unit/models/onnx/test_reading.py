"""Files that are no ONNX models: each gets its cause and its cure."""

from pathlib import Path

import pytest

from countline_common.errors import InvalidInputError
from countline_models.onnx.reading import read_network


def test_a_pointer_of_git_lfs_is_named_as_one(tmp_path: Path) -> None:
    """A clone without LFS leaves such a file in the place of a model."""
    pointer = tmp_path / "model.onnx"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(InvalidInputError, match=r"model\.onnx is a Git LFS pointer") as caught:
        read_network(pointer)
    assert "git lfs pull" in caught.value.hint
