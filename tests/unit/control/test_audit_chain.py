"""The chain of the audit: every kind of tampering is found, and an honest chain is intact."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_control.audit.chain import (
    GENESIS,
    AuditSigner,
    ChainCheck,
    Checkpoint,
    Doubt,
    FaultKind,
    HeadSearch,
    Link,
    UnsignedRows,
    chained,
    new_audit_key,
)
from countline_control.audit.findings import finding, is_finding, spans

SIGNER = AuditSigner(new_audit_key())
STRANGER = AuditSigner(new_audit_key())
TEXTS = [f'{{"id":"{i}"}}' for i in range(12)]
LINKS = list(chained(GENESIS, 0, TEXTS, SIGNER))
SIGNED = (4, 8, 10)
"""Sequences of the checkpoints: rows 11 and 12 came after the last one."""


def checkpoints(
    links: list[Link] = LINKS, signer: AuditSigner = SIGNER, at: tuple[int, ...] = SIGNED
) -> set[Checkpoint]:
    by_sequence = {link.sequence: link for link in links}
    return {signer.checkpoint(sequence, by_sequence[sequence].hash, sequence) for sequence in at}


def faults(links, stored=None, published=frozenset()) -> list[tuple[str, int]]:
    check = ChainCheck(SIGNER.public, frozenset(checkpoints() if stored is None else stored), frozenset(published))
    check.add(links)
    check.finish()
    return [(str(fault.kind), fault.sequence) for fault in check.faults]


def kinds(links, stored=None, published=frozenset()) -> set[str]:
    return {kind for kind, _ in faults(links, stored, published)}


def test_an_untouched_chain_is_intact() -> None:
    assert faults(LINKS, published=checkpoints()) == []
    assert faults([], stored=set()) == []


@pytest.mark.parametrize("i", range(12))
def test_a_changed_row_is_found(i: int) -> None:
    changed = [replace(link, text=link.text + " ") if link.sequence == i + 1 else link for link in LINKS]
    assert faults(changed) == [("changed", i + 1)]


@pytest.mark.parametrize("i", range(11))
def test_a_missing_row_is_found(i: int) -> None:
    assert ("missing", i + 1) in faults([link for link in LINKS if link.sequence != i + 1])


def test_rows_that_changed_places_are_found() -> None:
    swapped = list(LINKS)
    swapped[5], swapped[6] = replace(LINKS[6], sequence=6), replace(LINKS[5], sequence=7)
    assert {("changed", 6), ("changed", 7)} <= set(faults(swapped))


def test_a_row_in_between_is_found() -> None:
    forged = STRANGER.link(LINKS[4].hash, 6, '{"id":"forged"}')
    later = [replace(link, sequence=link.sequence + 1) for link in LINKS[5:]]
    assert "changed" in kinds([*LINKS[:5], forged, *later])


def test_a_row_that_is_chained_well_and_not_signed_by_the_audit_is_found() -> None:
    forged = STRANGER.link(LINKS[-1].hash, 13, '{"id":"forged"}')
    assert faults([*LINKS, forged]) == [("inserted", 13)]


def test_a_cut_off_end_is_found() -> None:
    assert ("cut_off", 10) in faults(LINKS[:9])
    assert kinds([]) == {"missing"}


def test_a_new_chain_in_place_of_the_old_one_is_found_by_the_checkpoints() -> None:
    """Everything is computed anew, also the checkpoints of the database, by somebody without the key."""
    other = list(chained(GENESIS, 0, [f"{text} " for text in TEXTS], STRANGER))
    assert "replaced" in kinds(other)
    assert "checkpoint_forged" in kinds(other, stored=checkpoints(other, STRANGER))


def test_a_new_chain_by_somebody_with_the_key_is_found_by_what_jetstream_keeps() -> None:
    other = list(chained(GENESIS, 0, [f"{text} " for text in TEXTS], SIGNER))
    stored = checkpoints(other)
    assert faults(other, stored=stored) == []  # the database alone proves nothing against the holder of the key
    found = kinds(other, stored=stored, published=checkpoints())
    assert {"replaced", "checkpoint_missing"} <= found


def test_checkpoints_that_vanish_from_the_database_are_found_by_what_jetstream_keeps() -> None:
    assert kinds(LINKS, stored=set(), published=checkpoints()) == {"checkpoint_missing"}
    assert {"cut_off", "checkpoint_missing"} == kinds(LINKS[:9], stored=set(), published=checkpoints())


def test_checkpoints_that_vanish_from_jetstream_are_found_if_it_was_read_and_they_are_due() -> None:
    def found(published: set[Checkpoint] | None, until_us: int) -> list[tuple[str, int]]:
        kept = None if published is None else frozenset(published)
        check = ChainCheck(SIGNER.public, frozenset(checkpoints()), kept, until_us)
        check.add(LINKS)
        check.finish()
        return [(str(fault.kind), fault.sequence) for fault in check.faults]

    assert found(set(), 9) == [("checkpoint_unpublished", 4), ("checkpoint_unpublished", 8)]
    assert found(checkpoints(at=(4,)), 9) == [("checkpoint_unpublished", 8)]
    assert found(checkpoints(), 99) == found(set(), 4) == found(None, 99) == []


def test_a_signed_checkpoint_stands_for_purged_rows() -> None:
    purge = SIGNER.checkpoint(6, LINKS[5].hash, 1, purge=True)
    assert faults(LINKS[6:], stored={*checkpoints(), purge}) == []
    assert kinds(LINKS[6:]) == {"missing"}
    forged = STRANGER.checkpoint(6, LINKS[5].hash, 1, purge=True)
    assert {"missing", "checkpoint_forged"} <= kinds(LINKS[6:], stored={*checkpoints(), forged})
    elsewhere = SIGNER.checkpoint(5, LINKS[4].hash, 1, purge=True)
    assert "missing" in kinds(LINKS[6:], stored={*checkpoints(), elsewhere})


def test_all_rows_may_be_purged() -> None:
    purge = SIGNER.checkpoint(12, LINKS[11].hash, 1, purge=True)
    assert faults([], stored={*checkpoints(), purge}) == []


def unsigned_rows(links: list[Link], after: int = 0, *, unsigned: bool = False) -> UnsignedRows:
    rows = UnsignedRows(SIGNER.public, after, LINKS[after - 1].hash if after else GENESIS, unsigned)
    rows.add(links)
    return rows


INSERTED = [STRANGER.link(LINKS[-1].hash, 13, "x")]
INSERTED.append(STRANGER.link(INSERTED[0].hash, 14, "y"))
BEHIND = list(chained(INSERTED[-1].hash, 14, TEXTS[:2], SIGNER))


def test_only_rows_of_ours_are_signed_and_others_are_named() -> None:
    assert (unsigned_rows(LINKS).doubts, unsigned_rows(LINKS).ours) == ([], LINKS[-1])
    assert unsigned_rows([]).ours is None
    at_the_end = unsigned_rows([*LINKS[10:], INSERTED[0]], 10)
    assert (at_the_end.doubts, at_the_end.ours) == ([Doubt(FaultKind.INSERTED, 13, 13)], LINKS[-1])
    passed = unsigned_rows([*LINKS[10:], *INSERTED, *BEHIND], 10)
    assert (passed.doubts, passed.ours) == ([Doubt(FaultKind.INSERTED, 13, 14)], BEHIND[-1])
    bare = [replace(link, signature=b"") for link in LINKS]
    assert unsigned_rows(bare).doubts == [Doubt(FaultKind.INSERTED, 1, 12)]
    assert (unsigned_rows(bare, unsigned=True).doubts, unsigned_rows(bare, unsigned=True).ours) == ([], bare[-1])


def test_changed_and_missing_rows_are_named_before_they_are_signed() -> None:
    changed = [replace(link, text="x") if link.sequence == 5 else link for link in LINKS]
    assert unsigned_rows(changed).doubts == [Doubt(FaultKind.CHANGED, 5, 5)]
    copied = [*LINKS[:4], replace(LINKS[1], sequence=5), *LINKS[5:]]  # with the good signature of another row
    assert unsigned_rows(copied).doubts == [Doubt(FaultKind.CHANGED, 5, 6)], "its hash, which row 6 was chained to, too"
    missing = unsigned_rows([*LINKS[:3], *LINKS[5:]])
    assert (missing.doubts, missing.ours) == ([Doubt(FaultKind.MISSING, 4, 5)], LINKS[-1])


def test_a_row_that_a_checkpoint_covers_is_found_if_a_finding_names_it() -> None:
    rows = [*LINKS, *INSERTED, *BEHIND]
    stored = frozenset({SIGNER.checkpoint(16, BEHIND[-1].hash, 1)})

    def found(suspects: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
        check = ChainCheck(SIGNER.public, stored, suspects=suspects)
        check.add(rows)
        check.finish()
        return [(str(fault.kind), fault.sequence) for fault in check.faults]

    assert found([(13, 14)]) == found([(13, 13), (1, 20)]) == found([(14, 14), (13, 13)])
    assert found([(13, 14)]) == [("inserted", 13), ("inserted", 14)]
    assert found([(14, 14)]) == [("inserted", 14)]
    assert found([(1, 12), (15, 99)]) == [], "a finding cannot accuse rows of ours"


def test_a_finding_names_its_rows() -> None:
    rows = [finding(Doubt(FaultKind.INSERTED, 7, 7), 1.5), finding(Doubt(FaultKind.MISSING, 8, 12), 1.5)]
    assert [row.resource for row in rows] == ["audit/rows/7", "audit/rows/8-12"]
    assert [row.problem for row in rows] == ["row 7: not written by the audit", "row 8-12: missing"]
    assert spans([row.resource for row in rows]) == [(7, 7), (8, 12)]
    assert spans(["audit/rows/", "users/7", "audit/rows/7-", "audit/rows/99999999999999999999"]) == []
    assert all(is_finding(row) for row in rows)


def far(sequence: int) -> Link:
    """A row of somebody else, with the hash and the signature of one of ours."""
    return replace(LINKS[3], sequence=sequence)


@pytest.mark.parametrize(
    ("rows", "head", "room"),
    [
        (LINKS, 12, None),
        (LINKS[:1], 1, None),
        (LINKS[6:], 12, None),
        ([*LINKS, far(2**63 - 1)], 12, 2**63 - 14),
        ([*LINKS, far(15), far(16)], 12, 2),
        ([*LINKS, far(13), far(14)], 14, None),
        ([*LINKS, far(13), far(15)], 13, 1),
        ([*LINKS[:4], *LINKS[6:]], 12, None),
        ([replace(link, signature=b"") for link in LINKS], 12, None),
        ([*(replace(link, signature=b"") for link in LINKS), far(99)], 12, 86),
    ],
)
def test_the_next_row_belongs_behind_the_last_one_of_ours(rows: list[Link], head: int, room: int | None) -> None:
    search = HeadSearch(SIGNER.public)
    for row in reversed(rows):
        if search.add([row]):
            break
    assert search.head is not None
    assert (search.head.sequence, search.room) == (head, room)


@given(st.data())
def test_whatever_is_done_to_signed_rows_is_found(data: st.DataObject) -> None:
    rows = list(LINKS)
    where = data.draw(st.integers(0, 9))
    action = data.draw(st.sampled_from(("change", "delete", "hash", "move")))
    if action == "change":
        rows[where] = replace(rows[where], text=data.draw(st.text().filter(lambda text: text != LINKS[where].text)))
    elif action == "hash":
        rows[where] = replace(rows[where], hash=data.draw(st.binary(min_size=32, max_size=32)))
    elif action == "delete":
        del rows[where]
    else:
        rows[where] = replace(rows[where], sequence=data.draw(st.integers(13, 99)))
        rows.sort(key=lambda link: link.sequence)
    if rows != LINKS:
        assert faults(rows)
