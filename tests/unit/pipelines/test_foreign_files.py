"""Files that are no video: each is named for what it is, before FFmpeg guesses."""

import os
from pathlib import Path

import pytest

from countline_common.errors import NotFoundError
from countline_pipelines.sources import Playback, SourceError, SourceFailure, SourceSpec, VideoReader
from countline_pipelines.sources.content import content_of, files_of

PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>nginx</body></html>"


def failure(path: Path) -> SourceError:
    with pytest.raises(SourceError) as raised:
        VideoReader(SourceSpec(str(path), Playback.FAST))
    assert raised.value.failure is SourceFailure.NOT_VIDEO
    return raised.value


@pytest.mark.parametrize(
    ("content", "detail", "hint"),
    [
        (b"", "is empty (0 bytes)", "copy the file again"),
        (bytes(100_000), "begins with zeros", "copy the file again"),
        (b"hello\nworld\n", "is a text file", "give a video file"),
        (b"\xef\xbb\xbfhello", "is a text file", "give a video file"),
        ("hällo".encode("utf-16"), "is a text file", "give a video file"),
        (("a" * 4095 + "é").encode(), "is a text file", "give a video file"),
        (b'{"detail": "Not authenticated"}', "is a text file", "give a video file"),
        (PAGE, "is a web page", "log in first"),
        (b"\r\n" + PAGE.lower(), "is a web page", "log in first"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer", "git lfs pull"),
        (b"PK\x03\x04\x14\0\0\0", "is a ZIP archive", "unpack it"),
        (b"%PDF-1.4\n\x80\x81", "is a PDF document", "give a video file"),
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.txt", "clip"])
def test_a_file_that_is_no_video_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, detail: str, hint: str, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    error = failure(tmp_path / name)
    assert detail in error.message
    assert hint in error.hint


def test_a_folder_a_pipe_and_a_device_are_named_as_such(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a folder" in failure(tmp_path).message
    assert "is a pipe" in failure(tmp_path / "pipe").message
    assert "is a device" in failure(Path("/dev/zero")).message


def test_nothing_waits_for_the_writer_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert files_of(str(tmp_path / "pipe")) == (tmp_path / "pipe",)
    with pytest.raises(NotFoundError, match="no regular file"):
        content_of(SourceSpec(str(tmp_path / "pipe"), Playback.FAST))


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\na.ts\n",
        b"ffconcat version 1.0\nfile a.ts\n",
        b"v=0\r\no=- 0 0 IN IP4 h\r\n",
        b"\0\0\0\x18ftypmp42",
    ],
)
def test_playlists_and_broken_videos_are_left_to_ffmpeg(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip").write_bytes(content)
    with pytest.raises(SourceError) as raised:
        VideoReader(SourceSpec(str(tmp_path / "clip"), Playback.FAST))
    assert "not a video" not in raised.value.message
