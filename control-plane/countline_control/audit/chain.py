"""The chain of the audit: hashes, signed checkpoints, and the check of all of them. Pure.

The hash of a row is SHA-256 over the hash of the row before, the sequence, and the text of the row. So a row cannot be
changed, removed or moved without a change of every hash behind it. A checkpoint is a signature (Ed25519) over a
sequence and its hash, so that hashes cannot simply be computed anew. Rows behind the last checkpoint are signed one by
one. This is the construction of a tamper-evident log by Schneier and Kelsey (1999), with signatures in place of keys
that evolve.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

GENESIS: Final = bytes(32)
"""Hash before the first row."""
MOST_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class Link:
    """A stored row in the chain."""

    sequence: int
    """From 1, without gaps."""
    text: str
    """The row as it is hashed."""
    hash: bytes
    signature: bytes
    """Over the hash."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that the chain had a hash at a sequence."""

    sequence: int
    hash: bytes
    at_us: int
    purge: bool
    """The rows up to this one may be purged; the chain then begins behind it."""
    key_id: str
    signature: bytes = b""

    @property
    def signed(self) -> bytes:
        """The bytes that the signature covers."""
        kind = "purge" if self.purge else "rows"
        return f"countline audit {kind}\n{self.sequence}\n{self.hash.hex()}\n{self.at_us}\n{self.key_id}\n".encode()


class FaultKind(StrEnum):
    """What can be wrong with a chain."""

    CHANGED = "changed"
    MISSING = "missing"
    INSERTED = "inserted"
    CUT_OFF = "cut_off"
    REPLACED = "replaced"
    CHECKPOINT_FORGED = "checkpoint_forged"
    CHECKPOINT_MISSING = "checkpoint_missing"
    CHECKPOINT_UNPUBLISHED = "checkpoint_unpublished"


@dataclass(frozen=True, slots=True)
class ChainFault:
    """One thing that is wrong with a chain."""

    kind: FaultKind
    sequence: int
    problem: str


def hash_of(previous: bytes, sequence: int, text: str) -> bytes:
    """Return the hash of a row."""
    return hashlib.sha256(previous + f"{sequence}\n".encode() + text.encode()).digest()


class AuditSigner:
    """Signs rows and checkpoints.

    Args:
        private_pem: an Ed25519 key as PEM.
    """

    def __init__(self, private_pem: str) -> None:
        key = serialization.load_pem_private_key(private_pem.encode(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("not an Ed25519 key")
        self._key = key
        self.public = AuditPublicKey(key.public_key())

    def link(self, previous: bytes, sequence: int, text: str) -> Link:
        """Return the link of a row."""
        hashed = hash_of(previous, sequence, text)
        return Link(sequence, text, hashed, self._key.sign(_signed_row(hashed)))

    def checkpoint(self, sequence: int, hashed: bytes, at_us: int, *, purge: bool = False) -> Checkpoint:
        """Return a signed checkpoint."""
        bare = Checkpoint(sequence, hashed, at_us, purge, self.public.key_id)
        return Checkpoint(sequence, hashed, at_us, purge, bare.key_id, self._key.sign(bare.signed))


class AuditPublicKey:
    """Checks signatures."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = key.public_bytes(encoding, form).decode()
        self.key_id = hashlib.sha256(self.pem.encode()).hexdigest()[:16]

    def signs_row(self, link: Link) -> bool:
        """Whether the signature of a row is good."""
        return self._is_good(link.signature, _signed_row(link.hash))

    def signs(self, checkpoint: Checkpoint) -> bool:
        """Whether the signature of a checkpoint is good."""
        return checkpoint.key_id == self.key_id and self._is_good(checkpoint.signature, checkpoint.signed)

    def _is_good(self, signature: bytes, data: bytes) -> bool:
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def new_audit_key() -> str:
    """Return a new private key as PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return Ed25519PrivateKey.generate().private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _signed_row(hashed: bytes) -> bytes:
    return b"countline audit row\n" + hashed


@dataclass(slots=True)
class ChainCheck:
    """Checks a chain row by row: `add` every row in order, then `finish`.

    Args:
        public: checks signatures.
        stored: checkpoints beside the rows.
        published: checkpoints that JetStream keeps; None if it could not be read.
        published_until_us: JetStream must have the checkpoints that were signed before this time.
        suspects: first and last rows of spans whose signatures are checked, although a checkpoint covers them. The
            findings of the audit name them (`findings`). A finding cannot accuse a row that the audit signed.
    """

    public: AuditPublicKey
    stored: frozenset[Checkpoint]
    published: frozenset[Checkpoint] | None = None
    published_until_us: int = 0
    suspects: Sequence[tuple[int, int]] = ()
    faults: list[ChainFault] = field(default_factory=list)
    rows: int = 0
    first: int = 0
    last: int = 0
    signed_until: int = 0
    _hash: bytes | None = GENESIS
    """Hash of the row before; None behind a gap, where it is unknown."""
    _good: list[Checkpoint] = field(default_factory=list)
    _expected: dict[int, set[bytes]] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)
    """The last row of any span that begins up to the start at the same place."""

    def __post_init__(self) -> None:
        spans = sorted(self.suspects)
        self._starts = [first for first, _ in spans]
        self._ends = list(accumulate((last for _, last in spans), max))
        published = self.published or frozenset()
        for checkpoint in sorted(self.stored | published, key=lambda each: (each.sequence, each.at_us)):
            if self.public.signs(checkpoint):
                self._good.append(checkpoint)
                self._expected.setdefault(checkpoint.sequence, set()).add(checkpoint.hash)
            else:
                self._report(FaultKind.CHECKPOINT_FORGED, checkpoint.sequence, "a checkpoint has no valid signature")
        self.signed_until = max((each.sequence for each in self._good if not each.purge), default=0)
        for sequence in sorted({each.sequence for each in self._good if each not in self.stored}):
            self._report(FaultKind.CHECKPOINT_MISSING, sequence, "JetStream has a checkpoint that the database lacks")
        if self.published is not None:
            due = [each for each in self._good if each.at_us < self.published_until_us]
            for sequence in sorted({each.sequence for each in due if each not in published}):
                problem = "the database has a checkpoint that JetStream lacks"
                self._report(FaultKind.CHECKPOINT_UNPUBLISHED, sequence, problem)

    def add(self, links: Iterable[Link]) -> None:
        """Check the next rows."""
        for link in links:
            self._begin(link.sequence) if self.rows == 0 else self._follow(link.sequence)
            if self._hash is not None and hash_of(self._hash, link.sequence, link.text) != link.hash:
                self._report(FaultKind.CHANGED, link.sequence, "the row or its place differs from its hash")
            elif self._needs_signature(link.sequence) and not self.public.signs_row(link):
                self._report(FaultKind.INSERTED, link.sequence, "the row has no valid signature of the audit")
            if any(each != link.hash for each in self._expected.get(link.sequence, ())):
                self._report(FaultKind.REPLACED, link.sequence, "the row differs from a signed checkpoint")
            self.rows, self.last, self._hash = self.rows + 1, link.sequence, link.hash

    def finish(self) -> None:
        """Check the end of the chain."""
        until = max((each.sequence for each in self._good), default=0)
        if self.rows == 0:
            self._begin(until + 1)
        elif until > self.last:
            self._report(
                FaultKind.CUT_OFF, self.last + 1, f"rows {self.last + 1} to {until} are missing at the end of the chain"
            )

    def _needs_signature(self, sequence: int) -> bool:
        """Whether no checkpoint vouches for a row. Checking every signature would take minutes."""
        if sequence > self.signed_until:
            return True
        found = bisect_right(self._starts, sequence)
        return found > 0 and sequence <= self._ends[found - 1]

    def _begin(self, sequence: int) -> None:
        """Check that the rows before the first one were purged."""
        self.first = sequence
        self._hash = GENESIS
        if sequence == 1:
            return
        purged = {each.hash for each in self._good if each.purge and each.sequence == sequence - 1}
        self._hash = next(iter(purged), None)
        if not purged:
            problem = f"rows 1 to {sequence - 1} are missing, and no signed checkpoint permits their purge"
            self._report(FaultKind.MISSING, 1, problem)

    def _follow(self, sequence: int) -> None:
        if sequence != self.last + 1:
            problem = f"rows {self.last + 1} to {sequence - 1} are missing"
            self._report(FaultKind.MISSING, self.last + 1, problem)
            self._hash = None

    def _report(self, kind: FaultKind, sequence: int, problem: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(ChainFault(kind, sequence, problem))


def chained(previous: bytes, after: int, texts: Iterable[str], signer: AuditSigner) -> Iterator[Link]:
    """Yield the links of new rows behind the row `after`, whose hash is `previous`."""
    for sequence, text in enumerate(texts, after + 1):
        link = signer.link(previous, sequence, text)
        previous = link.hash
        yield link


@dataclass(slots=True)
class HeadSearch:
    """Finds the row behind which the next one belongs: `add` rows from the last one backwards until it returns True.

    That is the last row of ours, or the last of the rows that follow it without a gap. Rows further on, behind a gap,
    were inserted by somebody else. Without any row of ours, it is the last row before the first gap.

    Args:
        public: checks signatures.
    """

    public: AuditPublicKey
    head: Link | None = None
    """None if there are no rows."""
    room: int | None = None
    """How many rows fit in the gap behind the head; None if there is no end."""
    _above: Link | None = None

    def add(self, links: Iterable[Link]) -> bool:
        """Look at the next rows; return whether the head is found."""
        for link in links:
            above, self._above = self._above, link
            if above is None or above.sequence != link.sequence + 1:
                self.room = above.sequence - link.sequence - 1 if above is not None else None
                self.head = link
            elif hash_of(link.hash, above.sequence, above.text) == above.hash and self.public.signs_row(above):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Doubt:
    """Rows of which the audit finds, before it signs them, that it did not write them, or not so."""

    kind: FaultKind
    first: int
    last: int


@dataclass(slots=True)
class UnsignedRows:
    """Looks at the rows behind the last checkpoint before the next one is signed: `add` them in order.

    Args:
        public: checks signatures.
        last: sequence of the last checkpoint; 0 if there is none.
        hash: of the row at this sequence.
        unsigned: whether rows without a signature are good: those of earlier releases, which come before the first
            checkpoint.
    """

    public: AuditPublicKey
    last: int
    hash: bytes
    unsigned: bool = False
    ours: Link | None = None
    """The last row that the audit wrote, and that stands where it wrote it."""
    doubts: list[Doubt] = field(default_factory=list)

    def add(self, links: Iterable[Link]) -> None:
        """Look at the next rows."""
        for link in links:
            follows = link.sequence == self.last + 1
            if not follows:
                self.doubt(FaultKind.MISSING, self.last + 1, link.sequence - 1)
            if not self.public.signs_row(link) and not (self.unsigned and not link.signature):
                self.doubt(FaultKind.INSERTED, link.sequence, link.sequence)
            elif follows and hash_of(self.hash, link.sequence, link.text) != link.hash:
                self.doubt(FaultKind.CHANGED, link.sequence, link.sequence)
            elif follows:
                self.ours = link
            self.last, self.hash = link.sequence, link.hash

    def doubt(self, kind: FaultKind, first: int, last: int) -> None:
        """Note a doubt. Neighbours of one kind are one doubt, lest many rows need many findings."""
        if self.doubts and (self.doubts[-1].kind, self.doubts[-1].last) == (kind, first - 1):
            first = self.doubts.pop().first
        self.doubts.append(Doubt(kind, first, last))
