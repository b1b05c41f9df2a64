"""Log files are bounded, and their ends are found."""

from pathlib import Path

from countline_local.supervision.log_files import bound, tail


def test_the_tail_is_the_last_lines_since_the_start(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("old\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("".join(f"line {number}\n" for number in range(50)))
    assert tail(log, 2, start) == ["line 48", "line 49"]
    assert "old" not in tail(log, 100, start)


def test_the_tail_of_a_log_that_was_begun_anew_is_not_empty(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("new\n")
    assert tail(log, 5, start=10_000) == ["new"]


def test_a_missing_log_has_no_tail(tmp_path: Path) -> None:
    assert tail(tmp_path / "no.log", 5) == []


def test_a_log_that_grew_too_large_is_kept_once_and_begun_anew_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        assert not bound(log, most_bytes=100)
        writer.write(b"y")
        assert bound(log, most_bytes=100)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "part.log.1").stat().st_size == 101
