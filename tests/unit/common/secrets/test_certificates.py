"""The local CA: names, modes, validity; and what is refused about certificate files."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.tls.authority import PARTS, Authority
from countline_common.tls.files import TlsFiles
from countline_common.tls.postgres import with_tls
from countline_common.tls.settings import TlsSettings


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "certs")
    authority.init(("control", "worker"), ("countline.example.org", "10.0.0.9", "fd00::9"))
    return authority


def test_init_makes_a_certificate_for_every_part_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certs")
    assert authority.init() == list(PARTS)
    before = {path: path.read_bytes() for path in authority.folder.iterdir()}
    assert authority.init((*PARTS, "more")) == ["more"]
    assert {path: path.read_bytes() for path in before} == before


def test_only_the_owner_reads_keys(authority: Authority) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in authority.folder.iterdir()} == {0o600}
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700


def test_a_certificate_names_its_hosts_and_its_end(authority: Authority) -> None:
    ca, control, worker = authority.views()
    assert (ca.name, control.name, worker.name) == ("ca", "control", "worker")
    assert {"control", "localhost", "127.0.0.1", "::1", "countline.example.org", "10.0.0.9", "fd00::9"} <= {
        *control.hosts
    }
    assert control.days_left(datetime.now(UTC)) in {364, 365}
    assert ca.expires_at - control.expires_at > timedelta(days=3000)


def test_renewing_keeps_the_hosts_and_replaces_the_key(authority: Authority) -> None:
    before = authority.files("control").key.read_bytes()
    assert authority.renew(["control"], ["new.example.org"]) == ["control"]
    assert authority.files("control").key.read_bytes() != before
    assert {"10.0.0.9", "new.example.org"} <= set(authority.views()[1].hosts)
    authority.files("control").check()


def test_only_certificates_that_expire_soon_are_renewed_by_themselves(authority: Authority) -> None:
    authority.issue("worker", days=20)
    assert authority.renew_old(datetime.now(UTC)) == ["worker"]
    assert authority.renew_old(datetime.now(UTC)) == []


@pytest.mark.parametrize("name", ["ca", "", "../ca", "a/b", "Worker", "a.b", "x" * 64, "a\0"])
def test_a_name_that_is_no_file_name_is_refused(authority: Authority, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be the name of a part"):
        authority.issue(name)


@pytest.mark.parametrize("host", ["", "a b", "https://x", "x:80", "exämple", "-", "a..b"])
def test_a_host_that_is_none_is_refused_and_nothing_changes(authority: Authority, host: str) -> None:
    before = authority.files("control").certificate.read_bytes()
    with pytest.raises(InvalidInputError, match="is no host name or address"):
        authority.issue("control", [host])
    assert authority.files("control").certificate.read_bytes() == before


def test_unknown_names_and_missing_folders_are_named(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no certificate of nobody"):
        authority.renew(["nobody"])
    with pytest.raises(NotFoundError, match="there are no certificates"):
        Authority(tmp_path / "none").views()
    (authority.folder / "ca-key.pem").unlink()
    with pytest.raises(NotFoundError, match="no CA with its key"):
        authority.issue("worker-2")


def test_files_that_cannot_be_used_are_refused_with_their_name(authority: Authority, tmp_path: Path) -> None:
    files, other = authority.files("control"), authority.files("worker")
    (tmp_path / "text").write_text("no certificate")
    authority.issue("old", days=0)
    for wrong, message in (
        (TlsFiles(tmp_path / "nowhere.pem"), "there is no file"),
        (TlsFiles(tmp_path / "text"), "holds no certificate in PEM"),
        (TlsFiles(files.ca, files.certificate), "needs its key"),
        (TlsFiles(files.ca, files.certificate, other.key), "does not belong to the certificate"),
        (TlsFiles(files.ca, files.certificate, files.certificate), "holds no private key"),
        (authority.files("old"), "expired on"),
    ):
        with pytest.raises((InvalidInputError, NotFoundError), match=message) as caught:
            wrong.check()
        assert caught.value.hint


def test_settings_without_a_ca_are_without_tls(authority: Authority) -> None:
    files = authority.files("control")
    assert TlsSettings().tls is None
    assert TlsSettings(tls_ca_file=files.ca).tls == TlsFiles(files.ca)
    with pytest.raises(InvalidInputError, match="no CA"):
        _ = TlsSettings(tls_cert_file=files.certificate, tls_key_file=files.key).tls


def test_an_address_of_postgresql_requires_tls_unless_it_says_otherwise() -> None:
    files = TlsFiles(Path("/c/ca.pem"), Path("/c/me.pem"), Path("/c/me-key.pem"))
    dsn = "postgresql://u:p%40w@db:5432/name"
    assert with_tls(dsn, None) == dsn
    assert with_tls(dsn + "?sslmode=disable", files) == dsn + "?sslmode=disable"
    assert with_tls(dsn + "?connect_timeout=5", TlsFiles(files.ca)) == (
        dsn + "?connect_timeout=5&sslmode=verify-full&sslrootcert=%2Fc%2Fca.pem"
    )
    assert with_tls(dsn, files).endswith("&sslcert=%2Fc%2Fme.pem&sslkey=%2Fc%2Fme-key.pem")
