"""The hash of a file's content names its runs, so its values are written here.

If a test fails, do not change the value: the ids of files that were counted would change, and events would count twice.
"""

from pathlib import Path

from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.sources.content import content_hash, content_of, files_of


def test_the_hash_of_one_file_is_fixed(tmp_path: Path) -> None:
    file = tmp_path / "first"
    file.write_bytes(b"first file")
    assert content_hash(file) == "7aba5c674111a2de"


def test_the_hash_of_two_files_is_fixed_and_depends_on_their_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"first file")
    second.write_bytes(b"second file")
    assert content_hash(first, second) == "0258fb92d23dd6a6"
    assert content_hash(second, first) == "d7484b5795a870d4"


def test_the_border_between_two_files_is_part_of_their_hash(tmp_path: Path) -> None:
    names = ("a", "bc", "ab", "c")
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    a, bc, ab, c = (tmp_path / name for name in names)
    assert content_hash(a, bc) != content_hash(ab, c)


def test_the_files_of_a_playlist_belong_to_the_source(tmp_path: Path) -> None:
    """An output file could replace a segment, and two recordings with equal playlists had the same ids."""
    for name in ("a 0.ts", "a1.ts", "init.mp4", "key.bin", "other.ts"):
        (tmp_path / name).write_bytes(name.encode())
    low = tmp_path / "low.m3u8"
    low.write_text(
        '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="key.bin"\n#EXT-X-MAP:URI="init.mp4"\na%200.ts\na1.ts\ngone.ts\n'
    )
    master = tmp_path / "master.m3u8"
    master.write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\nmaster.m3u8\nhttp://host/x.ts\n")
    names = {path.name for path in files_of(str(master))}
    assert names == {"master.m3u8", "low.m3u8", "a 0.ts", "a1.ts", "init.mp4", "key.bin"}
    joined = tmp_path / "list.ffconcat"
    joined.write_text("ffconcat version 1.0\nfile 'a 0.ts'\nfile a1.ts\n")
    assert [path.name for path in files_of(str(joined))] == ["list.ffconcat", "a 0.ts", "a1.ts"]
    assert files_of("http://host/list.m3u8") == ()
    before = content_of(SourceSpec(str(master), Playback.FAST))
    (tmp_path / "a1.ts").write_bytes(b"other pictures")
    assert content_of(SourceSpec(str(master), Playback.FAST)) != before
