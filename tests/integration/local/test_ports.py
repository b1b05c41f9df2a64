"""Ports of parts: usual, remembered, wished for, replaced."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from countline_common.errors import ConflictError, InvalidInputError
from countline_local.supervision import ports
from countline_local.supervision.ports import PortChoice, choose_ports, parse_wishes, read_remembered, remember


@contextmanager
def taken(port: int = 0, host: str = "127.0.0.1") -> Iterator[int]:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
        holder.listen(1)
        yield holder.getsockname()[1]


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Usual ports that are free on this machine now, in place of the real ones, which others may be using."""
    with ExitStack() as stack:
        names = ("gateway", "nats", "postgres")
        numbers = {name: stack.enter_context(taken()) for name in names}
    monkeypatch.setattr(ports, "USUAL_PORTS", numbers)
    return numbers


def test_the_usual_ports_are_taken_where_they_are_free(usual: dict[str, int]) -> None:
    chosen = choose_ports({})
    assert chosen == {name: PortChoice(name, port, None) for name, port in usual.items()}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_replaced_and_it_says_which(usual: dict[str, int], host: str) -> None:
    with taken(usual["gateway"], host):
        choice = choose_ports({})["gateway"]
        assert choice.port != usual["gateway"]
        assert choice.replaces == usual["gateway"]
        with taken(choice.port):
            pass


def test_a_port_of_last_time_is_taken_again(usual: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    with taken(usual["nats"]):
        first = choose_ports(read_remembered(path))
    remember(path, first)
    second = choose_ports(read_remembered(path))
    assert {name: choice.port for name, choice in second.items()} == {n: c.port for n, c in first.items()}


def test_a_remembered_port_that_is_taken_now_is_let_go(usual: dict[str, int]) -> None:
    with taken() as other:
        assert choose_ports({"nats": other})["nats"].port == usual["nats"]


def test_any_free_ports_are_all_different_and_not_the_usual_ones(usual: dict[str, int]) -> None:
    chosen = choose_ports({}, any_free=True)
    numbers = [choice.port for choice in chosen.values()]
    assert len(set(numbers)) == len(usual)
    assert all(choice.replaces is None for choice in chosen.values())


def test_any_port_is_none_that_outgoing_connections_get(usual: dict[str, int]) -> None:
    lowest = int(ports.EPHEMERAL_RANGE.read_text().split()[0])
    chosen = [choice.port for _ in range(20) for choice in choose_ports({}, any_free=True).values()]
    assert max(chosen) < lowest
    assert min(chosen) > 1024


def test_a_wished_port_that_is_taken_is_an_error_not_another_port(usual: dict[str, int]) -> None:
    with taken() as port, pytest.raises(ConflictError, match=str(port)):
        choose_ports({}, {"gateway": port})


def test_wishes_are_names_with_ports_or_a_bare_port_for_the_gateway() -> None:
    assert parse_wishes(["8090", "nats=4333"]) == {"gateway": 8090, "nats": 4333}
    for wrong in ("nats", "nosuch=1", "nats=0", "nats=70000", "gateway=x", ""):
        with pytest.raises(InvalidInputError):
            parse_wishes([wrong])


def test_an_unreadable_memory_is_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_text("{broken")
    assert read_remembered(path) == {}
