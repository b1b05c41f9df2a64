"""Whose address the gateway passes on."""

from ipaddress import ip_network

import pytest

from countline_analytics.settings import ApiSettings
from countline_common.errors import InvalidInputError
from countline_common.http.client_address import client_address

PROXIES = (ip_network("10.0.0.5/32"), ip_network("2001:db8::/64"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "passed_on"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "1.2.3.4", "192.0.2.7"),  # what anybody says of themselves
        ("10.0.0.5", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.5", "9.9.9.9, 1.2.3.4", "1.2.3.4"),  # the last is what our proxy saw
        ("10.0.0.5", "9.9.9.9, 10.0.0.8", "10.0.0.8"),  # a client in our own networks is a client all the same
        ("10.0.0.5", "", ""),
        ("10.0.0.5", "1.2.3.4, nonsense", ""),
        ("::ffff:10.0.0.5", "::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8::9", "2001:db8:1::7", "2001:db8:1::7"),
        ("127.0.0.1", "1.2.3.4", ""),  # a proxy on this machine that the settings do not name
        ("::1", "", ""),
        ("", "1.2.3.4", ""),  # a unix socket
    ],
)
def test_a_client_is_who_connected_or_what_a_proxy_of_ours_saw(peer: str, forwarded_for: str, passed_on: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == passed_on


def test_nobody_is_believed_unless_a_setting_names_them() -> None:
    assert ApiSettings.model_fields["gateway_trusted_proxies"].default == ""


def settings(proxies: str) -> ApiSettings:
    return ApiSettings(nats_url="", analytics_dsn="", token_public_key_file="", gateway_trusted_proxies=proxies)


def test_networks_are_written_with_commas_and_one_that_is_none_is_named() -> None:
    assert settings("10.0.0.5/32, 2001:db8::/64").proxy_networks() == PROXIES
    with pytest.raises(InvalidInputError, match=r"COUNTLINE_GATEWAY_TRUSTED_PROXIES.*10\.0\.0\.5/33"):
        settings("10.0.0.5/33").proxy_networks()
