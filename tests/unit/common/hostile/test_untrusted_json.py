"""JSON from outside: what `json.loads` gives, and a bound on the depth."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.untrusted_json import MAX_DEPTH, parse_json

_LEAVES = st.none() | st.booleans() | st.integers() | st.text('[]{}"\\a', max_size=10)
_DOCUMENTS = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\', max_size=5), inner))


@given(_DOCUMENTS)
def test_it_reads_what_json_reads(document: object) -> None:
    many = [document, "[{" * MAX_DEPTH, '\\"' * MAX_DEPTH]
    assert parse_json(json.dumps(many)) == many


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]":', "}]")])
def test_nesting_is_bounded(opening: str, closing: str) -> None:
    most = MAX_DEPTH // (opening.count("[") + opening.count("{"))
    parse_json(opening * most + "1" + closing * most)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        parse_json(opening * (most + 1) + "1" + closing * (most + 1))


@pytest.mark.parametrize("text", ['"' * 200_000, '"\\' * 200_000, "[" * 70 + '"' + "\\" * 400_000, "[]" * 200_000])
def test_hostile_text_is_refused_in_linear_time(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"nested|Expecting|control|Extra|Invalid|Unterminated"):
        parse_json(text)
    assert time.process_time() - began < 2
