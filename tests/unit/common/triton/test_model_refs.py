"""How models are named."""

import pytest

from countline_common.errors import InvalidInputError
from countline_common.triton import ModelRef


@pytest.mark.parametrize(
    ("text", "name", "version"), [("net", "net", 0), ("net@1", "net", 1), ("a.b-c_d@20", "a.b-c_d", 20)]
)
def test_a_model_is_named_with_or_without_a_version(text: str, name: str, version: int) -> None:
    ref = ModelRef.parse(text)
    assert (ref.name, ref.version, str(ref)) == (name, version, text)


@pytest.mark.parametrize(
    "text", ["", "@1", "net@", "net@0", "net@-1", "net@x", "net@1@2", "../net", "net@²", "net@99999999999"]
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ModelRef.parse(text)
    assert caught.value.hint
