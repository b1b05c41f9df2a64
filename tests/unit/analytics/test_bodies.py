"""Bodies of requests as they are after `Content-Encoding`."""

import gzip
import json
import zlib

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from countline_analytics.api.protection.bodies import decompressed
from countline_common.errors import InvalidInputError

WHOLE = json.dumps({"site_id": "shop", "time_zone": "Europe/Berlin"}).encode()
MOST = 4096


def _raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


COMPRESSED = {"gzip": gzip.compress, "deflate": zlib.compress, "x-gzip": gzip.compress, " DEFLATE ": _raw}


@pytest.mark.parametrize("encoding", COMPRESSED)
@given(data=st.binary(max_size=300))
def test_a_whole_body_is_read(encoding: str, data: bytes) -> None:
    assert decompressed(COMPRESSED[encoding](data), encoding, MOST) == data


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_body_that_is_cut_off_anywhere_is_refused(encoding: str) -> None:
    """A gzip body without its last bytes was taken as whole if its JSON was: its checksum was never compared."""
    sent = COMPRESSED[encoding](WHOLE)
    for length in range(1, len(sent)):
        with pytest.raises(InvalidInputError, match="cut off"):
            decompressed(sent[:length], encoding, MOST)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_wrong_checksum_and_bytes_after_the_end_are_refused(encoding: str) -> None:
    sent = COMPRESSED[encoding](WHOLE)
    with pytest.raises(InvalidInputError, match="bytes follow"):
        decompressed(sent + sent, encoding, MOST)
    damaged = sent[:-5] + bytes([sent[-5] ^ 1]) + sent[-4:] if encoding == "gzip" else sent[:-1] + bytes([sent[-1] ^ 1])
    with pytest.raises(InvalidInputError, match="cannot be read"):
        decompressed(damaged, encoding, MOST)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_the_limit_holds_after_the_body_is_decompressed(encoding: str) -> None:
    bomb = COMPRESSED[encoding](bytes(MOST * 1000))
    assert len(decompressed(COMPRESSED[encoding](bytes(MOST)), encoding, MOST)) == MOST
    with pytest.raises(web.HTTPRequestEntityTooLarge):
        decompressed(bomb, encoding, MOST)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "\0"])
def test_another_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(InvalidInputError, match="Content-Encoding"):
        decompressed(WHOLE, encoding, MOST)
