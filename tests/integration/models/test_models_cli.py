"""`countline models deploy | list | promote | shadow | trial | …` as processes of their own, against a service."""

import asyncio
import hashlib
import json
import os
import pty
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image
from tests.fixtures.forked.command import countline
from tests.fixtures.models.service_double import NOW, ModelsShell

from countline.v1 import models_pb2
from countline.v1.models_pb2 import DeployHeader, Trial, TrialBucket, TrialComparison
from countline_common.errors import ConflictError, InvalidInputError, UnavailableError
from countline_common.times import to_timestamp
from countline_models.cli.deploy import ModelServiceEndpoint, artifact, send
from countline_models.cli.steps import Steps

LIVE, READY, RETIRED = models_pb2.MODEL_STATE_LIVE, models_pb2.MODEL_STATE_VALIDATED, models_pb2.MODEL_STATE_RETIRED
TRUTH = {"lines": {"gate": {"points": [[0.5, 0.1], [0.5, 0.9]], "in": 3, "out": 1}}, "tolerance": 0.1}


@pytest.fixture
def shell(models_shell: ModelsShell) -> ModelsShell:
    return models_shell


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A file of two and a half chunks; the double does not look into it."""
    path = tmp_path / "out.onnx"
    path.write_bytes(os.urandom(2_621_440))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, Path]:
    """A clip and its truth."""
    paths = tmp_path / "gate.mp4", tmp_path / "gate.json"
    paths[0].write_bytes(os.urandom(1_500_000))
    paths[1].write_text(json.dumps(TRUTH))
    return paths


async def test_a_model_is_deployed_step_by_step(shell: ModelsShell, network: Path) -> None:
    out, err = await shell.ok("deploy", network, "--name", "gates", "--comment", "more [night]", "--target", "cpu")
    header, content = shell.double.requests[0], shell.double.artifacts[0]
    assert (header.name, header.comment, header.target, header.promote) == ("gates", "more [night]", "cpu", False)
    assert not header.HasField("golden")
    assert header.digest == hashlib.sha256(content).hexdigest()
    assert hashlib.sha256(content).digest() == hashlib.file_digest(network.open("rb"), "sha256").digest()
    assert out == ""
    signs = [line.split(" (")[0] for line in err.splitlines()]
    assert signs[0].startswith("✓ read the files: SHA-256 ")
    assert signs[1:5] == [
        "✓ send the files: receive was well",
        "✓ check the contract: contract was well",
        "✓ verify it in Triton: triton was well",
        "– count a clip with known crossings: no clip was given",
    ]
    assert "gates@1 is ready, but no camera uses it yet." in err
    assert "countline models shadow gates@1 --cameras ID" in err
    assert "countline cameras set ID --model gates@1" in err


async def test_a_deployment_prints_the_version_alone_as_json(
    shell: ModelsShell, network: Path, clip: tuple[Path, Path], tmp_path: Path
) -> None:
    shell.double.add("gates", LIVE)
    labels = tmp_path / "labels.txt"
    labels.write_text("person\nvehicle\n")
    golden = ("--golden", clip[0], "--truth", clip[1])
    version = await shell.json("deploy", network, "--name", "gates", *golden, "--labels", labels, "--promote")
    assert (version["name"], version["version"], version["state"]) == ("gates", 2, "live")
    assert version["created_by"] == "ada"
    header = shell.double.requests[0]
    assert list(header.labels) == ["person", "vehicle"]
    assert (header.golden.clip, json.loads(header.golden.truth)) == ("gate.mp4", TRUTH)
    assert [len(artifact) for artifact in shell.double.artifacts] == [2_621_440, 1_500_000]
    assert header.golden.digest == hashlib.sha256(shell.double.artifacts[1]).hexdigest()


@pytest.mark.parametrize(("step", "label"), [("receive", "send the files"), ("contract", "check the contract")])
async def test_a_step_that_is_refused_gets_a_cross_a_reason_and_a_hint(
    shell: ModelsShell, network: Path, step: str, label: str
) -> None:
    shell.double.refusals[step] = InvalidInputError("it has two outputs", hint="fuse it: countline models fuse")
    code, out, err = await shell.models("deploy", network, "--name", "gates", "--json")
    assert (code, out) == (1, "")
    assert f"✗ {label}: refused" in err
    assert err.endswith("error: it has two outputs\nhint: fuse it: countline models fuse\n")
    assert "is ready" not in err


async def test_a_reason_is_never_lost_to_the_files_that_are_still_being_sent(shell: ModelsShell, network: Path) -> None:
    """Seen with gRPC's asynchronous interface: 6 refusals of 100 read "Internal error from Core"."""
    shell.double.refusals["receive"] = InvalidInputError("it is too large")
    service, file = ModelServiceEndpoint(shell.address, shell.token("model:write")), artifact(network)
    header = DeployHeader(name="gates", size_bytes=file.size_bytes, digest=file.digest)
    for _ in range(50):
        with pytest.raises(InvalidInputError, match="it is too large"):
            await asyncio.to_thread(send, service, header, [file], Steps({}))


async def test_on_a_terminal_each_step_gets_its_sign(shell: ModelsShell, network: Path) -> None:
    ours, theirs = pty.openpty()
    command = (str(countline()), "models", "deploy", str(network), "--name", "gates", "--json")
    environment = shell.environment | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=asyncio.subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = asyncio.create_task(asyncio.to_thread(read_all, ours))
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    screen = await asyncio.wait_for(shown, 10)
    assert json.loads(out)["version"] == 1
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    for line in ("✓ check the contract", "– count a clip with known crossings", "✓ warm it up"):
        assert line in last


def read_all(descriptor: int) -> str:
    """What a terminal is given until its other end is closed."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # Linux says so where nobody holds the other end
        pass
    os.close(descriptor)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.onnx",), "there is no file nothing.onnx"),
        (("out.onnx", "--golden", "gate.mp4"), "--golden and --truth need each other"),
        (("out.onnx", "--golden", "gate.mp4", "--truth", "none.json"), "there is no file none.json"),
        (("out.onnx", "--golden", "gate.mp4", "--truth", "gate.mp4"), "is not UTF-8 text"),
        (("out.onnx", "--golden", "gate.mp4", "--truth", "empty.json"), "lines: field required"),
        (("empty.onnx",), "empty.onnx is empty"),
    ],
)
async def test_what_can_be_seen_from_here_is_said_before_anything_is_sent(
    shell: ModelsShell, network: Path, clip: tuple[Path, Path], arguments: tuple[str, ...], said: str
) -> None:
    (network.parent / "empty.onnx").touch()
    (network.parent / "empty.json").write_text("{}")
    code, _, err = await shell.models("deploy", *arguments, "--name", "gates")
    assert code == 1
    assert said in err
    assert shell.double.requests == []


async def test_somebody_who_may_not_deploy_is_refused(shell: ModelsShell, network: Path) -> None:
    shell.log_in("model:read")
    code, _, err = await shell.models("deploy", network, "--name", "gates")
    assert code == 1
    assert "model:write" in err


async def test_models_and_versions_are_listed_page_by_page_and_shown(shell: ModelsShell) -> None:
    shell.double.page_size = 2
    for name in ("gates", "night", "street"):
        shell.double.add(name, LIVE, READY, labels=("person", "car", "bus", "truck"))
    newest = shell.double.models["gates"].versions[0]
    newest.comment = "[night] tuned"
    newest.camera_ids.append("door")
    newest.validation.frames_per_s, newest.validation.latency_p50_ms = 41.25, 12.5
    newest.validation.golden.state = models_pb2.GOLDEN_STATE_PASSED
    newest.validation.golden.lines.add(line_id="gate", true_in=7, true_out=3, counted_in=7, counted_out=2)
    listed, _ = await shell.ok("list")
    assert [line.split()[0] for line in listed.splitlines()] == ["NAME", "gates", "night", "street"]
    assert "@2 validated, @1 live" in listed
    assert "person, car, bus, … (4)" in listed
    assert [model["name"] for model in (await shell.json("list"))["models"]] == ["gates", "night", "street"]
    shown, _ = await shell.ok("show", "gates")
    assert re.search(r"@2 +validated +41\.2 +12\.5 ms +- +clip: 9 of 10 +door .*\[night\] tuned", shown)
    assert re.search(r"@1 +live +- +- +- +unchecked", shown)
    assert (await shell.json("show", "gates"))["live_version"] == 1


async def test_an_empty_service_says_how_to_begin(shell: ModelsShell) -> None:
    out, err = await shell.ok("list")
    assert out == ""
    assert "countline models deploy" in err


async def test_versions_go_live_back_and_away(shell: ModelsShell) -> None:
    shell.double.add("gates", LIVE, RETIRED, READY, READY)
    _, err = await shell.ok("promote", "gates")
    assert "gates@4 is live." in err
    assert (await shell.json("promote", "gates@3"))["live_version"] == 3
    assert (await shell.json("rollback", "gates"))["live_version"] == 2
    _, err = await shell.ok("retire", "gates@4")
    assert "Retired gates@4." in err
    _, err = await shell.ok("delete", "gates@4", "--yes")
    assert "Deleted the version gates@4." in err
    assert await shell.json("delete", "gates", "--yes") == {"name": "gates", "version": 0}
    assert shell.double.models == {}
    asked = [type(request).__name__ for request in shell.double.requests]
    assert asked == ["GetModelRequest", *[f"{method}ModelRequest" for method in
                     ("Promote", "Promote", "Rollback", "Retire", "Delete", "Delete")]]  # fmt: skip


async def test_nothing_is_deleted_without_a_yes(shell: ModelsShell) -> None:
    shell.double.add("gates", LIVE)
    code, _, _ = await shell.models("delete", "gates")
    assert code == 1
    assert "gates" in shell.double.models


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("retire", "gates"), "'gates' names no version", "write gates@1"),
        (("retire", "gates@0"), "names no version of a model", "write gates, or gates@1"),
        (("promote", "gates"), "gates has no version that is ready but not live", "countline models deploy"),
        (("promote", "gates@1", "--if-better"), "no finished trial says", "countline models shadow gates@1"),
        (("show", "none"), "there is no model 'none'", "countline models list"),
        (("tune", "gates"), "nothing to change", "--batch"),
        (("shadow", "gates@1", "--cameras", ","), "no camera is named", "--cameras"),
        (("trial", "gates"), "gates has no trials", "countline models shadow gates@N"),
        (("trial", "t9"), "there is no trial and no model 't9'", "countline models list"),
    ],
)
async def test_a_mistake_is_answered_with_a_hint(
    shell: ModelsShell, arguments: tuple[str, ...], said: str, hint: str
) -> None:
    shell.double.add("gates", LIVE)
    code, out, err = await shell.models(*arguments)
    assert (code, out) == (1, "")
    assert said in err
    assert hint in err.partition("hint: ")[2]


async def test_a_service_that_refuses_is_quoted(shell: ModelsShell) -> None:
    shell.double.add("gates", LIVE, READY)
    shell.double.refusals["StartTrial"] = ConflictError("door is on another trial", hint="stop it first")
    code, _, err = await shell.models("canary", "gates@2", "--cameras", "door")
    assert code == 1
    assert err == "error: door is on another trial\nhint: stop it first\n"


async def test_tuning_changes_what_is_named_and_nothing_else(shell: ModelsShell) -> None:
    shell.double.add("gates", LIVE).tuning.instances = 2
    _, err = await shell.ok("tune", "gates", "--batch", "8", "--delay-us", "500")
    assert "Tuned gates: batch 8, delay 500 us, instances 2." in err
    tuned = await shell.json("tune", "gates", "--batch", "0")
    assert tuned["tuning"] == {"max_batch_size": 0, "max_queue_delay_us": 500, "instances": 2}


async def test_a_trial_is_started_listed_and_stopped(shell: ModelsShell) -> None:
    shell.double.add("gates", LIVE, READY)
    options = ("--cameras", "door, yard", "--margin", "0.05", "--minutes", "90", "--promote-if-better")
    _, err = await shell.ok("shadow", "gates", *options)
    assert "Started trial t1: gates@2 against @1, shadow on door, yard." in err
    assert "countline models trial t1" in err
    request = shell.double.requests[-1]
    assert (request.challenger, list(request.camera_ids), request.time_limit_s) == (2, ["door", "yard"], 5400)
    assert (request.margin, request.promote_if_better) == (0.05, True)
    started = await shell.json("canary", "gates@2", "--cameras", "door")
    assert (started["trial_id"], started["mode"]) == ("t2", "canary")
    listed, _ = await shell.ok("trials", "gates")
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["t2", "canary"], ["t1", "shadow"]]
    assert (await shell.json("trial", "t1", "--stop"))["state"] == "stopped"
    assert [trial["state"] for trial in (await shell.json("trials", "gates"))["trials"]] == ["running", "stopped"]


def comparison(both: int, lost: int, new: int, **fields: object) -> TrialComparison:
    """A comparison as the service makes it."""
    ratio = (both + new) / (both + lost)
    return TrialComparison(
        both=both,
        only_incumbent=lost,
        only_challenger=new,
        ratio=ratio,
        ratio_low=ratio - 0.07,
        ratio_high=ratio + 0.07,
        seconds=1200,
        **fields,
    )


def reported(trial: Trial) -> None:
    """Let workers have reported a trial whose challenger misses a fifth."""
    trial.total.CopyFrom(comparison(94, 24, 3, frames_missed=4))
    trial.lines.append(comparison(60, 4, 3, camera_id="door", line_id="gate"))
    trial.lines.append(comparison(34, 20, 0, camera_id="yard", line_id="ramp"))
    trial.buckets.extend(
        TrialBucket(start=to_timestamp(NOW + 60 * minute), incumbent=6, challenger=5 - minute % 2)
        for minute in range(20)
    )
    trial.verdict = "the challenger counts 0.82 times the live version: fewer"


async def test_a_trial_is_reported_line_by_line_and_drawn(shell: ModelsShell, tmp_path: Path) -> None:
    shell.double.add("gates", LIVE, READY)
    await shell.ok("shadow", "gates@2", "--cameras", "door,yard")
    reported(shell.double.trials["t1"])
    pictures = tmp_path / "trial.svg", tmp_path / "trial.png"
    out, err = await shell.ok("trial", "t1", "--plot", pictures[0])
    rows = [line.split() for line in out.splitlines()]
    assert rows[1] == ["door", "gate", "60", "4", "3", "0.98", "0.91", "to", "1.05", "20.0", "min", "0"]
    assert rows[2][:6] == ["yard", "ramp", "34", "20", "0", "0.63"]
    assert rows[3][:5] == ["total", "94", "24", "3", "0.82"]
    assert "the challenger counts 0.82 times the live version: fewer" in err
    await shell.ok("trial", "gates", "--plot", pictures[1])
    words = " ".join(element.text or "" for element in ET.fromstring(pictures[0].read_text()).iter())
    assert "gates: version 2 against version 1 (shadow)" in words
    assert "0.82 (0.75 to 0.89)" in words
    with Image.open(pictures[1]) as picture:
        assert picture.size == (1000, 640)
        colours = {colour for _, colour in picture.getcolors(1 << 20) or ()}
    assert {(0x2F, 0x6F, 0xDE), (0xE0, 0x8A, 0x00)} <= colours, "both lines are drawn"
    code, _, err = await shell.models("trial", "t1", "--plot", "trial.pdf")
    assert code == 1
    assert "hint: use a .png or .svg file" in err


@pytest.mark.parametrize(
    ("state", "code"), [(models_pb2.TRIAL_STATE_ACCEPTED, 0), (models_pb2.TRIAL_STATE_REJECTED, 1)]
)
async def test_who_waits_for_a_trial_gets_its_end_by_the_exit_code(shell: ModelsShell, state: int, code: int) -> None:
    shell.double.add("gates", LIVE, READY)
    waiting = asyncio.create_task(shell.models("shadow", "gates@2", "--cameras", "door", "--wait", "--json"))
    await polled(shell)
    trial = shell.double.trials["t1"]
    shell.double.refusals["GetTrial"] = UnavailableError("the database is away")
    reported(trial)
    trial.state = state
    await polled(shell)
    assert not waiting.done()
    del shell.double.refusals["GetTrial"]
    ended, out, err = await waiting
    assert ended == code
    assert json.loads(out)["total"]["both"] == 94
    assert "0 crossings so far; the first look is at 30" in err
    assert err.count("fewer") == 1


async def polled(shell: ModelsShell) -> None:
    """Wait until somebody asks once more how a trial is."""
    shell.double.trial_asked.clear()
    await asyncio.wait_for(shell.double.trial_asked.wait(), 30)


async def test_a_shell_completes_models_versions_and_trials(shell: ModelsShell) -> None:
    shell.double.add("gates", LIVE, READY)
    shell.double.add("night", LIVE)
    await shell.ok("shadow", "gates@2", "--cameras", "door")
    assert await shell.completed("countline models show g") == ["gates"]
    assert await shell.completed("countline models promote gates@") == ["gates@2", "gates@1"]
    assert await shell.completed("countline models trial t") == ["t1"]
    assert await shell.completed("countline models pull yolox_n") == ["yolox_nano"]
    assert await shell.completed("countline models roll") == ["rollback"]
