"""Downloads over a network that misbehaves: a real server that cuts, forgets, changes and lies, on 127.0.0.1."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from tests.fixtures.forked.command import countline
from tests.fixtures.models.detector_networks import answering

from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from countline_models.contract import check_contract
from countline_models.digests import file_digest
from countline_models.pull.download import pull
from countline_models.pull.wanted import Patience, Wanted

CONTENT = np.random.default_rng(5).integers(0, 256, 3_000_000, np.uint8).tobytes()
QUICK = Patience(without_progress_s=0.6, first_pause_s=0.02, longest_pause_s=0.1)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Shelf:
    """A server with one file, whose answers a test scripts: one after another, then the file itself."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag = '"first"'
        self.ranges = True
        self.script: list[Answer] = []
        self.asked: list[dict[str, str]] = []
        self.address = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append({name: request.headers[name] for name in ("Range", "If-Range") if name in request.headers})
        return await (self.script.pop(0) if self.script else self.whole)(request)

    def start_of(self, request: web.Request) -> int:
        """Where the answer begins: behind what the caller has, if that is of this very file."""
        wants = request.headers.get("Range", "")
        if not self.ranges or not wants or request.headers.get("If-Range", self.etag) != self.etag:
            return 0
        return int(wants.removeprefix("bytes=").removesuffix("-"))

    async def begun(self, request: web.Request) -> tuple[web.StreamResponse, int]:
        start, size = self.start_of(request), len(self.content)
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = size - start
        if self.etag:
            response.headers["ETag"] = self.etag
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        await response.prepare(request)
        return response, start

    async def whole(self, request: web.Request) -> web.StreamResponse:
        response, start = await self.begun(request)
        await response.write(self.content[start:])
        return response

    async def cut(self, request: web.Request) -> web.StreamResponse:
        """A third of what was asked for, then the connection breaks."""
        response, start = await self.begun(request)
        await response.write(self.content[start : start + (len(self.content) - start) // 3])
        assert request.transport is not None
        request.transport.close()
        return response

    async def busy(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    async def missing(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    def wanted(self, **changes: object) -> Wanted:
        values = {
            "addresses": (self.address,),
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "size_bytes": len(CONTENT),
        }
        return Wanted(**{**values, **changes})


@pytest.fixture
async def shelf(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shelf]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    shelf = Shelf()
    app = web.Application()
    app.router.add_get("/file.onnx", shelf.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    shelf.address = f"http://127.0.0.1:{runner.addresses[0][1]}/file.onnx"
    try:
        yield shelf
    finally:
        await runner.cleanup()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "file.onnx"


def left(target: Path) -> list[str]:
    """What lies beside the target now."""
    return sorted(path.name for path in target.parent.iterdir())


def whole(target: Path) -> bool:
    """Whether the file is here, every byte of it."""
    return target.read_bytes() == CONTENT


def with_text(path: Path, text: str) -> Path:
    """A file that is there already."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


async def test_a_file_comes_with_its_progress_and_is_not_asked_for_again(shelf: Shelf, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert await pull(shelf.wanted(), target, QUICK, lambda here, total: seen.append((here, total)))
    assert whole(target)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [here for here, _ in seen] == sorted(here for here, _ in seen)
    assert left(target) == ["file.onnx"]
    assert not await pull(shelf.wanted(), target, QUICK)
    assert len(shelf.asked) == 1


async def test_a_connection_that_is_cut_goes_on_where_it_was(shelf: Shelf, target: Path) -> None:
    shelf.script = [shelf.cut, shelf.cut, shelf.cut]
    notes: list[str] = []
    assert await pull(shelf.wanted(), target, QUICK, noted=notes.append)
    assert whole(target)
    assert len(notes) == 3
    starts = [int(asked["Range"].removeprefix("bytes=").removesuffix("-")) for asked in shelf.asked[1:]]
    assert starts == sorted(set(starts))
    assert {asked["If-Range"] for asked in shelf.asked[1:]} == {'"first"'}


async def test_a_later_run_goes_on_with_what_an_earlier_one_left(shelf: Shelf, target: Path) -> None:
    shelf.script = [shelf.cut, *[shelf.busy] * 50]
    with pytest.raises(UnavailableError, match="503"):
        await pull(shelf.wanted(), target, QUICK)
    assert left(target) == ["file.onnx.part", "file.onnx.part.json"]
    here = target.with_name("file.onnx.part").stat().st_size
    shelf.script, shelf.asked = [], []
    await pull(shelf.wanted(), target, QUICK)
    assert shelf.asked == [{"Range": f"bytes={here}-", "If-Range": '"first"'}]
    assert whole(target)
    assert left(target) == ["file.onnx"]


async def test_a_server_that_knows_no_ranges_is_taken_from_the_beginning(shelf: Shelf, target: Path) -> None:
    shelf.ranges = False
    shelf.script = [shelf.cut]
    await pull(shelf.wanted(), target, QUICK)
    assert whole(target)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
async def test_without_a_strong_etag_the_rest_is_not_asked_for(shelf: Shelf, target: Path, etag: str) -> None:
    shelf.etag = etag
    shelf.script = [shelf.cut]
    await pull(shelf.wanted(), target, QUICK)
    assert shelf.asked == [{}, {}]
    assert whole(target)


async def test_a_file_that_changes_in_the_middle_is_begun_anew(shelf: Shelf, target: Path) -> None:
    async def cut_and_change(request: web.Request) -> web.StreamResponse:
        response = await shelf.cut(request)
        shelf.content, shelf.etag = CONTENT, '"second"'
        return response

    shelf.content, shelf.script = bytes(len(CONTENT)), [cut_and_change]
    await pull(shelf.wanted(), target, QUICK)
    assert shelf.asked[1]["If-Range"] == '"first"'
    assert whole(target)


async def test_pieces_that_do_not_fit_together_are_thrown_away_once(shelf: Shelf, target: Path) -> None:
    """A server that changed the file and kept the ETag."""

    async def cut_and_change(request: web.Request) -> web.StreamResponse:
        response = await shelf.cut(request)
        shelf.content = CONTENT
        return response

    shelf.content, shelf.script = bytes(len(CONTENT)), [cut_and_change]
    notes: list[str] = []
    await pull(shelf.wanted(), target, QUICK, noted=notes.append)
    assert "do not fit together" in notes[-1]
    assert whole(target)


async def test_wrong_bytes_in_pieces_are_brought_twice_and_refused(shelf: Shelf, target: Path) -> None:
    shelf.content, shelf.script = bytes(len(CONTENT)), [shelf.cut, shelf.whole, shelf.cut]
    with pytest.raises(ConflictError, match="offers another file"):
        await pull(shelf.wanted(), target, QUICK)
    assert len(shelf.asked) == 4
    assert left(target) == []


async def test_other_bytes_than_those_expected_are_removed_and_said(shelf: Shelf, target: Path) -> None:
    shelf.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(ConflictError, match="offers another file") as caught:
        await pull(shelf.wanted(), target, QUICK)
    assert hashlib.sha256(shelf.content).hexdigest() in str(caught.value)
    assert left(target) == []
    assert len(shelf.asked) == 1


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
async def test_a_file_of_another_size_is_not_even_read(shelf: Shelf, target: Path, size: int) -> None:
    shelf.content = (CONTENT + b"!")[:size]
    with pytest.raises(ConflictError, match=f"a file of {size} bytes"):
        await pull(shelf.wanted(), target, QUICK)
    assert left(target) == []


async def test_more_bytes_than_were_announced_are_not_written(shelf: Shelf, target: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(10):
            await response.write(CONTENT)
        return response

    shelf.script = [endless]
    with pytest.raises(ConflictError):
        await pull(shelf.wanted(), target, QUICK)
    assert left(target) == []


async def test_a_server_that_is_busy_is_asked_again(shelf: Shelf, target: Path) -> None:
    shelf.script = [shelf.busy, shelf.busy]
    notes: list[str] = []
    await pull(shelf.wanted(), target, QUICK, noted=notes.append)
    assert notes[0] == "the server answers 503 Service Unavailable; trying again in 0.02 s"
    assert whole(target)


async def test_an_address_without_the_file_is_followed_by_the_next(shelf: Shelf, target: Path) -> None:
    shelf.script = [shelf.missing]
    gone = shelf.address.replace("file.onnx", "nothing.onnx")
    await pull(shelf.wanted(addresses=(gone, shelf.address, shelf.address)), target, QUICK)
    assert whole(target)


async def test_where_no_address_has_it_the_hint_is_to_bring_it_by_hand(shelf: Shelf, target: Path) -> None:
    shelf.script = [shelf.missing]
    with pytest.raises(NotFoundError, match="404") as caught:
        await pull(shelf.wanted(), target, QUICK)
    assert shelf.address in caught.value.hint
    assert len(shelf.asked) == 1
    assert left(target) == []


async def test_a_server_that_is_not_there_is_said_by_its_name(shelf: Shelf, target: Path) -> None:
    """Port 9 of this machine: nobody listens there."""
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached"):
        await pull(shelf.wanted(addresses=("http://127.0.0.1:9/file.onnx",)), target, QUICK)
    assert left(target) == []


async def test_a_server_that_falls_silent_counts_as_cut_off(shelf: Shelf, target: Path) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response, _ = await shelf.begun(request)
        await response.write(CONTENT[:1000])
        await asyncio.sleep(30)
        return response

    shelf.script = [silent]
    patience = Patience(without_progress_s=5, first_pause_s=0.02, read_s=0.2)
    await asyncio.wait_for(pull(shelf.wanted(), target, patience), 20)
    assert shelf.asked[1]["Range"] == "bytes=1000-"
    assert whole(target)


async def test_another_file_of_that_name_is_left_alone(shelf: Shelf, target: Path) -> None:
    with_text(target, "mine")
    with pytest.raises(AlreadyExistsError, match="is another file"):
        await pull(shelf.wanted(), target, QUICK)
    assert file_digest(target) == hashlib.sha256(b"mine").hexdigest()
    assert shelf.asked == []


async def test_two_that_pull_the_same_file_do_not_mix_their_bytes(shelf: Shelf, target: Path) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def waits(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return await shelf.whole(request)

    shelf.script = [waits]
    first = asyncio.create_task(pull(shelf.wanted(), target, Patience()))
    await asked.wait()
    with pytest.raises(ConflictError, match="another process"):
        await pull(shelf.wanted(), target, QUICK)
    go_on.set()
    assert await first
    assert whole(target)


async def test_a_disk_that_is_too_small_is_said_before_anything_is_asked(shelf: Shelf, target: Path) -> None:
    with pytest.raises(ResourceExhaustedError, match=r"is full: [0-9.]+ MB are missing"):
        await pull(shelf.wanted(size_bytes=10**17), target, QUICK)
    assert shelf.asked == []
    assert left(target) == []


async def test_a_disk_that_fills_up_is_said(shelf: Shelf, target: Path) -> None:
    """/dev/full is a file that takes no byte."""
    with_text(target, "").unlink()
    target.with_name("file.onnx.part").symlink_to("/dev/full")
    with pytest.raises(ResourceExhaustedError, match="is full"):
        await pull(shelf.wanted(), target, QUICK)


def one_object_seen() -> bytes:
    """A network of YOLOX's shape for 64x64 and COCO's classes, which sees a car in every picture."""
    rows = np.zeros((1, 84, 85), np.float32)
    rows[0, 0, :8] = (1, 1, 1, 1, 0.9, 0, 0, 1)
    return answering({"output": rows}, (64, 64)).SerializeToString()


async def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    """Run `countline models pull …` as a process of its own."""
    run = [str(countline()), "models", "pull", *arguments]
    return await asyncio.to_thread(
        subprocess.run, run, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


async def test_the_command_pulls_and_fuses_from_a_manifest_of_ones_own(shelf: Shelf, tmp_path: Path) -> None:
    shelf.content = one_object_seen()
    entry = {
        "name": "tiny",
        "architecture": "YOLOX of one answer",
        "head": "yolox",
        "licence": "Apache-2.0",
        "addresses": [shelf.address],
        "sha256": hashlib.sha256(shelf.content).hexdigest(),
        "size_bytes": len(shelf.content),
        "width": 64,
        "height": 64,
        "digest_from": [{"repository": "r", "path": "p", "commit": "0" * 40, "says": "this test"}],
    }
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"models": [entry]}))
    done = await command("tiny", "--manifest", str(manifest), "--fuse", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["file"], answer["downloaded"], answer["fused"]) == ("tiny.onnx", True, "tiny.fused.onnx")
    assert done.stderr.startswith("YOLOX of one answer: licence Apache-2.0")
    contract = check_contract((tmp_path / "tiny.fused.onnx").read_bytes())
    assert (contract.width, contract.height, contract.labels[2]) == (64, 64, "car")
    again = await command("tiny", "--manifest", str(manifest), folder=tmp_path)
    assert "it was downloaded before" in again.stderr
    assert "hint: countline models fuse tiny.onnx --head yolox -o tiny.fused.onnx" in again.stderr
    fused = tmp_path / "tiny.fused.onnx"
    assert (await command("tiny", "--manifest", str(manifest), "--fuse", folder=tmp_path)).returncode == 0
    fused.write_text("made by the user, with other classes")
    refused = await command("tiny", "--manifest", str(manifest), "--fuse", folder=tmp_path)
    assert refused.stderr.splitlines()[-2:] == [
        "error: tiny.fused.onnx already exists and is another file",
        "hint: move it away, or name another file",
    ]
    assert fused.read_text() == "made by the user, with other classes"
    unknown = await command("yolox_s", "--manifest", str(manifest), folder=tmp_path)
    assert unknown.returncode == 1
    assert "hint: choose one of: tiny" in unknown.stderr
