"""The rules of models: which version counts a camera, what may be retired, and what may go on trial."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline.v1 import models_pb2
from countline.v1.models_pb2 import ModelTuning
from countline_common.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from countline_control.cameras.domain import CameraObservation, ObservedState
from countline_control.models import checks, domain, messages, routing
from countline_control.models.domain import (
    ModelChoice,
    ModelRouting,
    StoredModel,
    StoredTrial,
    StoredVersion,
    TrialMode,
    TrialOutcome,
    Validation,
    VersionState,
)
from countline_models.contract_model import ContractModel
from countline_models.deploy import ModelTarget, Tuning

CONTRACT = ContractModel(64, 96, 10, ("person", "vehicle"), 0.4)


def version(number: int, state: VersionState = VersionState.VALIDATED) -> StoredVersion:
    return StoredVersion("net", number, state, f"{number:064x}", 10, 0.4, "", "", Validation(), "ann", 0.0)


def model(*versions: StoredVersion, live: int = 1) -> StoredModel:
    return StoredModel("net", CONTRACT, Tuning(), ModelTarget.CPU, live, 0, 0.0, 0.0, versions)


def trial(mode: TrialMode, *camera_ids: str, challenger: int = 2, incumbent: int = 1) -> StoredTrial:
    return StoredTrial(
        "t1", "net", challenger, incumbent, mode, TrialOutcome.RUNNING, camera_ids, 0.1, False, "ann", 0.0
    )


@pytest.mark.parametrize(
    ("named", "live", "expected"),
    [
        ("net", {"net": 3}, "net@3"),
        ("net@2", {"net": 3}, "net@2"),  # a camera that names a version keeps it
        ("net@2", {}, "net@2"),
        ("", {"demo": 1}, "demo@1"),  # the default model
        ("", {}, ""),
        ("net", {}, ""),  # no live version: the worker uses the model that the camera names
        ("../net", {"net": 1}, ""),  # stored before names were checked
    ],
)
def test_a_camera_is_counted_with_the_version_it_names_or_with_the_live_one(
    named: str, live: dict[str, int], expected: str
) -> None:
    assert routing.choose("door", named, ModelRouting(live, (), "demo")) == ModelChoice(expected)


def test_a_shadow_follows_and_a_canary_counts() -> None:
    shadow = routing.choose("door", "net", ModelRouting({"net": 1}, (trial(TrialMode.SHADOW, "door"),)))
    assert (shadow.model, shadow.follower.model, shadow.follower.is_challenger) == ("net@1", "net@2", True)
    canary = routing.choose("door", "net", ModelRouting({"net": 1}, (trial(TrialMode.CANARY, "door"),)))
    assert (canary.model, canary.follower.model, canary.follower.is_challenger) == ("net@2", "net@1", False)


@pytest.mark.parametrize(
    ("camera_id", "named", "live"),
    [
        ("yard", "net", 1),  # another camera
        ("door", "net@3", 1),  # the camera names another version now
        ("door", "other", 1),
        ("door", "net", 3),  # the incumbent is no longer live
    ],
)
def test_a_trial_concerns_only_its_cameras_while_they_are_counted_with_its_incumbent(
    camera_id: str, named: str, live: int
) -> None:
    serving = ModelRouting({"net": live, "other": 1}, (trial(TrialMode.CANARY, "door"),))
    assert routing.choose(camera_id, named, serving).follower is None


def test_who_uses_a_version_counts_followers_too() -> None:
    serving = ModelRouting({"net": 1}, (trial(TrialMode.SHADOW, "door"),))
    users = routing.users_of({"door": "net", "yard": "net", "gate": "net@3"}, serving)
    assert users == {"net@1": ("door", "yard"), "net@2": ("door",), "net@3": ("gate",)}


@pytest.mark.parametrize(
    ("number", "users", "serving", "reason"),
    [
        (1, (), ModelRouting({"net": 1}), "is live"),
        (2, (), ModelRouting({"net": 1}, (trial(TrialMode.SHADOW, "door"),)), "is on the trial"),
        (2, ("door", "gate", "yard", "hall"), ModelRouting({"net": 1}), "is named by door, gate, yard and 1 more"),
        (3, (), ModelRouting({"net": 1}), "is still being validated"),
    ],
)
def test_a_version_in_use_is_neither_retired_nor_deleted(
    number: int, users: tuple[str, ...], serving: ModelRouting, reason: str
) -> None:
    net = model(version(1), version(2), version(3, VersionState.REGISTERED))
    with pytest.raises(ConflictError, match=reason) as caught:
        checks.check_idle(net, net.version(number), serving, users)
    assert caught.value.hint


def test_an_idle_version_may_go() -> None:
    net = model(version(1), version(2))
    checks.check_idle(net, net.version(2), ModelRouting({"net": 1}), ())


@pytest.mark.parametrize(
    ("live", "challenger", "cameras", "serving", "error", "reason"),
    [
        (0, 2, ["door"], ModelRouting({}), ConflictError, "no version of net is live"),
        (1, 1, ["door"], ModelRouting({"net": 1}), ConflictError, "is live already"),
        (1, 3, ["door"], ModelRouting({"net": 1}), ConflictError, "net@3 is retired"),
        (1, 2, [], ModelRouting({"net": 1}), InvalidInputError, "no camera"),
        (1, 2, ["nowhere"], ModelRouting({"net": 1}), InvalidInputError, "no camera 'nowhere'"),
        (1, 2, ["pinned"], ModelRouting({"net": 1}), ConflictError, "names net@1"),
        (1, 2, ["other"], ModelRouting({"net": 1, "other": 1}), ConflictError, "names other"),
        (
            1,
            2,
            ["door"],
            ModelRouting({"net": 1}, (trial(TrialMode.SHADOW, "door"),)),
            ConflictError,
            "is on the trial t1",
        ),
    ],
)
def test_what_keeps_a_trial_from_starting(live, challenger, cameras, serving, error, reason) -> None:
    net = model(version(1), version(2), version(3, VersionState.RETIRED), live=live)
    known = {"door": "net", "pinned": "net@1", "other": "other"}
    with pytest.raises(error, match=reason):
        checks.check_trial(net, net.version(challenger), cameras, known, serving)


def test_a_trial_may_start_on_cameras_that_follow_what_is_live() -> None:
    net = model(version(1), version(2))
    serving = ModelRouting({"net": 1}, (), "net")
    checks.check_trial(net, net.version(2), ["door", "default"], {"door": "net", "default": ""}, serving)


def test_states_follow_from_the_model_and_its_trials() -> None:
    net = model(version(1), version(2), version(3), version(4, VersionState.RETIRED))
    serving = ModelRouting({"net": 1}, (trial(TrialMode.CANARY, "door"), trial(TrialMode.SHADOW, "yard", challenger=3)))
    shown = messages.model_message(net, serving, {"net@2": ("door",)})
    names = [models_pb2.ModelState.Name(each.state).removeprefix("MODEL_STATE_") for each in shown.versions]
    assert names == ["RETIRED", "SHADOW", "CANARY", "LIVE"]
    assert [list(each.camera_ids) for each in shown.versions] == [[], [], ["door"], []]
    assert net.served == (1, 2, 3)


def test_a_version_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="net@7") as caught:
        model(version(1), version(2)).version(7)
    assert "1, 2" in caught.value.hint


@pytest.mark.parametrize(("name", "comment"), [("net@2", ""), ("a/b", ""), ("", ""), ("net", "x" * 1001)])
def test_names_and_comments_that_cannot_be_used_are_refused(name: str, comment: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        checks.check_deployable(name, comment)
    assert caught.value.fields


@pytest.mark.parametrize("margin", [-0.1, 0.6, float("nan")])
def test_a_margin_out_of_bounds_is_refused(margin: float) -> None:
    with pytest.raises(InvalidInputError):
        checks.checked_margin(margin)
    assert checks.checked_margin(0.0) == checks.DEFAULT_MARGIN


def test_a_tuning_out_of_bounds_names_each_field() -> None:
    with pytest.raises(InvalidInputError) as caught:
        checks.checked_tuning(messages.tuning_values(ModelTuning(max_batch_size=-1, instances=1000)))
    assert [problem.field for problem in caught.value.fields] == ["tuning.max_batch_size", "tuning.instances"]
    assert checks.checked_tuning(messages.tuning_values(ModelTuning(max_batch_size=4))) == Tuning(4, 0, 0)


def test_what_a_service_elsewhere_learns_of_a_trial_is_enough_to_choose_by() -> None:
    for mode in TrialMode:
        received = messages.trial_of(messages.trial_message(trial(mode, "door")))
        here = routing.choose("door", "net", ModelRouting({"net": 1}, (trial(mode, "door"),)))
        assert routing.choose("door", "net", ModelRouting({"net": 1}, (received,))) == here


@given(st.sets(st.integers(1, 1000)))
def test_a_new_number_is_above_every_one_that_was_ever_given(numbers: set[int]) -> None:
    assert domain.next_number(numbers) == (max(numbers) + 1 if numbers else 1)


@pytest.mark.parametrize(
    ("given_to", "found", "another"),
    [
        ({}, {1: "a"}, ()),
        ({1: "a"}, {1: "a", 2: "b"}, ()),
        ({1: "a"}, {1: "b", 2: "b"}, (1,)),
        ({1: ""}, {1: "a"}, (1,)),  # its content was not recorded: treat it as different
    ],
)
def test_a_number_stands_for_one_content(
    given_to: dict[int, str], found: dict[int, str], another: tuple[int, ...]
) -> None:
    assert domain.given_to_another(given_to, found) == another


def test_only_a_worker_that_holds_a_camera_is_waited_for() -> None:
    probing, waiting = ObservedState.PROBING, ObservedState.WAITING
    observations = {
        "held": CameraObservation(probing, worker_id="w"),
        "opening": CameraObservation(probing, worker_id="w", reported_at=1.0),
        "nobodys": CameraObservation(waiting),
    }
    assert routing.unreported(["opening", "nobodys", "new", "held"], observations) == ("held", "new")
    checks.check_reported(())
    with pytest.raises(UnavailableError, match="which version counts held, new"):
        checks.check_reported(("held", "new"))
