"""The double's tables against the facts that were gathered about DeepStream, where a checkout has these."""

from typing import Any

import pytest
import yaml
from tests.doubles.deepstream.facts import RELEASES, Facts, tables
from tests.fixtures.repository import REPOSITORY

GATHERED = REPOSITORY.parent / "shared" / "deepstream" / "contract.yaml"
WRITABLE = {"NULL/READY": "ready", "any": "playing", "never": "never", "undeclared": "undeclared"}


@pytest.fixture(scope="module")
def gathered() -> dict[str, Any]:
    if not GATHERED.is_file():
        pytest.skip(f"the gathered facts are not at {GATHERED}")
    return yaml.safe_load(GATHERED.read_text())


@pytest.mark.parametrize("element", tables()["elements"])
def test_an_element_has_the_properties_that_were_gathered(element, gathered):
    there = gathered["elements"][element]
    kept = ("type", "default", "range", "enum", "since")
    expected = {
        name: {key: spec[key] for key in kept if key in spec}
        | ({"writable": WRITABLE[spec["writable"]]} if "writable" in spec else {})
        for name, spec in there["properties"].items()
    }
    ours = tables()["elements"][element]
    assert ours["properties"] == expected
    assert ours["parent"] == there["gtype_parent"]
    differences = there.get("differences", {}).get("7.1", {})
    assert ours.get("differences_7_1", {}) == {key: value for key, value in differences.items() if key != "confidence"}


@pytest.mark.parametrize("release", RELEASES)
def test_names_that_are_used_by_mistake_are_no_properties(release, gathered):
    for element in tables()["elements"]:
        mistaken = set(gathered["elements"][element].get("not_properties", ()))
        assert not mistaken & set(Facts(release).properties(element))


def test_pyds_has_the_classes_functions_and_enums_that_were_gathered(gathered):
    there, ours = gathered["pyds"], tables()["pyds"]
    assert set(ours["classes"]) == set(there["classes"])
    for name, entry in there["classes"].items():
        fields = {key: spec["type"] for key, spec in ours["classes"][name].items() if key != "__methods__"}
        assert fields == {key: spec["type"] for key, spec in entry["fields"].items()}
    assert {name: list(args) for name, args in ours["functions"].items()} == {
        name: list(entry["args"]) for name, entry in there["functions"].items()
    }
    assert ours["enums"] == {name: entry["values"] for name, entry in there["enums"].items()}


def test_the_messages_of_nvinferserver_are_those_that_were_gathered(gathered):
    there = gathered["nvinferserver_proto"]
    for name, fields in there["messages"].items():
        kept = {field: {key: spec[key] for key in spec if key != "notes"} for field, spec in fields.items()}
        assert tables()["proto"]["messages"][name] == kept, name
    assert tables()["proto"]["enums"] == there["enums"]


def test_the_keys_of_the_tracker_are_those_that_were_gathered(gathered):
    sections = gathered["nvtracker_config"]["sections"]
    assert {name: set(keys) for name, keys in tables()["tracker"].items()} == {
        name: set(keys) for name, keys in sections.items()
    }


def test_the_events_of_the_muxer_have_the_gathered_numbers(gathered):
    events = gathered["events"]["mux_events"]
    assert tables()["events"] == {name: entry["value"] for name, entry in events.items()}


@pytest.mark.parametrize(
    ("release", "element", "name", "there"),
    [
        ("7.1", "nvurisrcbin", "leaky", False),
        ("8.0", "nvurisrcbin", "leaky", True),
        ("7.1", "nvstreammux_new", "width", False),
    ],
)
def test_a_release_has_its_own_properties(release, element, name, there):
    assert (name in Facts(release).properties(element)) is there


def test_properties_of_an_unknown_release_can_be_left_out():
    assert "sub-batches" in Facts("7.1").properties("nvtracker")
    assert "sub-batches" not in Facts("7.1", doubtful=False).properties("nvtracker")


def test_the_protocol_of_rtp_has_two_values_in_7_1_and_seven_in_8_0():
    assert Facts("7.1").properties("nvurisrcbin")["select-rtp-protocol"]["enum"] == {0: "rtp-multi", 4: "rtp-tcp"}
    later = Facts("8.0").properties("nvurisrcbin")["select-rtp-protocol"]
    assert (later["default"], sorted(later["enum"])) == (7, [0, 1, 2, 4, 7, 10, 20])


def test_an_unknown_release_is_refused():
    with pytest.raises(ValueError, match=r"7\.1, 8\.0"):
        Facts("6.3")
