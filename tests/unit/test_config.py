"""Settings from options, variables and a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clouddesktop.config import load_aws_settings, load_openstack_settings, load_settings
from clouddesktop.errors import InvalidArgumentError


def test_an_option_beats_a_variable_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the command line, the stronger."""
    file = tmp_path / "settings.toml"
    file.write_text('grpc = "file:1"\nhttp = "file:2"\nworkers = 3\n[source]\na = "file:///a"\n')
    monkeypatch.setenv("CLOUDDESKTOP_GRPC", "variable:1")
    monkeypatch.setenv("CLOUDDESKTOP_HTTP", "variable:2")
    settings = load_settings(config=file, grpc="option:1")
    assert settings.grpc == "option:1"
    assert settings.http == "variable:2"
    assert settings.workers == 3
    assert settings.source == {"a": "file:///a"}


def test_sources_come_as_name_and_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option may be repeated; the variable holds several texts."""
    expected = {"a": "file:///a", "b": "file:///b=c"}
    assert load_settings(source=["a=file:///a", "b=file:///b=c"]).source == expected
    monkeypatch.setenv("CLOUDDESKTOP_SOURCE", "a=file:///a b=file:///b=c")
    assert load_settings().source == expected


@pytest.mark.parametrize(
    "source", [["nourl"], ["=file:///a"], ["a="], ["a=file:///a", "a=file:///b"]]
)
def test_a_source_of_another_form_is_refused(source: list[str]) -> None:
    """The error names the setting and gives an example."""
    with pytest.raises(InvalidArgumentError, match="source"):
        load_settings(source=source)


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    """Unknown keys and values out of range come together."""
    file = tmp_path / "settings.toml"
    file.write_text('workers = -1\nstorre = "file:///a"\n')
    with pytest.raises(InvalidArgumentError) as caught:
        load_settings(config=file)
    assert {each.field for each in caught.value.violations} == {"workers", "storre"}


def test_a_missing_settings_file_is_named() -> None:
    """The path is in the message."""
    with pytest.raises(InvalidArgumentError, match=r"/missing\.toml"):
        load_settings(config=Path("/missing.toml"))


OPENSTACK = {
    "OS_TOKEN": "",
    "OS_AUTH_URL": "https://keystone.example/v3",
    "OS_APPLICATION_CREDENTIAL_ID": "me",
    "OS_APPLICATION_CREDENTIAL_SECRET": "s3cret",
}


def set_openstack(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in {**OPENSTACK, **values}.items():
        monkeypatch.setenv(name, value)


def test_openstacks_variables_are_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty ones are not set; others of a shell do not matter; secrets are not printed."""
    set_openstack(monkeypatch, OS_PROJECT_NAME="x")
    found = load_openstack_settings()
    assert (found.auth_url, found.application_credential_id) == (OPENSTACK["OS_AUTH_URL"], "me")
    assert found.application_credential_secret is not None
    assert found.application_credential_secret.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(found)
    nothing = dict.fromkeys(OPENSTACK, "")
    set_openstack(monkeypatch, **{**nothing, "OS_AUTH_URL": "https://keystone.example"})
    found = load_openstack_settings()
    assert found.token is found.application_credential_secret is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"OS_AUTH_URL": ""}, "it lacks OS_AUTH_URL[.]"),
        (
            {"OS_APPLICATION_CREDENTIAL_SECRET": "", "OS_AUTH_URL": ""},
            "it lacks OS_AUTH_URL and OS_APPLICATION_CREDENTIAL_SECRET",
        ),
        ({"OS_APPLICATION_CREDENTIAL_ID": ""}, "it lacks OS_APPLICATION_CREDENTIAL_ID"),
        ({"OS_TOKEN": "t0ken"}, "both given"),
        (
            {
                "OS_TOKEN": "t0ken\nx-evil: 1",
                "OS_APPLICATION_CREDENTIAL_ID": "",
                "OS_APPLICATION_CREDENTIAL_SECRET": "",
            },
            "characters that no token has",
        ),
    ],
)
def test_a_login_that_is_not_clear_is_refused(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], words: str
) -> None:
    """Without a word of what is secret in it."""
    set_openstack(monkeypatch, **values)
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        load_openstack_settings()
    assert "s3cret" not in str(caught.value.failure)
    assert "t0ken" not in str(caught.value.failure)


AWS = {
    "AWS_ACCESS_KEY_ID": "me",
    "AWS_SECRET_ACCESS_KEY": "s3cret",
    "AWS_SESSION_TOKEN": "",
    "AWS_REGION": "",
    "AWS_DEFAULT_REGION": "eu-north-1",
    "AWS_ENDPOINT_URL": "https://s3.example",
    "AWS_ENDPOINT_URL_S3": "",
}


def set_aws(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in {**AWS, **values}.items():
        monkeypatch.setenv(name, value)


def test_awss_variables_are_the_access_to_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty ones are not set; the more special endpoint counts; secrets are not printed."""
    set_aws(monkeypatch, AWS_PROFILE="x")
    found = load_aws_settings()
    assert (found.access_key_id, found.region, found.default_region) == ("me", None, "eu-north-1")
    assert found.s3_endpoint == "https://s3.example"
    assert "s3cret" not in repr(found)
    set_aws(monkeypatch, AWS_ENDPOINT_URL_S3="http://127.0.0.1:8333")
    assert load_aws_settings().s3_endpoint == "http://127.0.0.1:8333"
    set_aws(monkeypatch, **dict.fromkeys(AWS, ""))
    found = load_aws_settings()
    assert (found.access_key_id, found.secret_access_key, found.s3_endpoint) == (None, None, None)


def test_what_libraries_would_trip_over_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line breaks that files of secrets end with, and variables that are set to nothing."""
    set_aws(monkeypatch, **{name: f"{value}\n" for name, value in AWS.items()})
    monkeypatch.setenv("AWS_ENDPOINT_URL", " ")
    found = load_aws_settings()
    assert found.access_key_id == "me"
    assert found.secret_access_key is not None
    assert found.secret_access_key.get_secret_value() == "s3cret"
    assert found.s3_endpoint is None
    assert "AWS_ENDPOINT_URL" not in os.environ  # noqa: TID251  (what the libraries see)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": ""}, "only one of AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": ""}, "only one of AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "s3.example:443"}, "AWS_ENDPOINT_URL is no URL"),
        ({"AWS_ENDPOINT_URL": "https://"}, "AWS_ENDPOINT_URL is no URL"),
        ({"AWS_ENDPOINT_URL": "https://s3 example"}, "AWS_ENDPOINT_URL is no URL"),
        ({"AWS_ENDPOINT_URL": "https://s3.example:99999"}, "AWS_ENDPOINT_URL is no URL"),
        ({"AWS_ENDPOINT_URL": "http://[x"}, "AWS_ENDPOINT_URL is no URL"),
        ({"AWS_SESSION_TOKEN": "a\nb"}, "a key or a token has a blank"),
        ({"AWS_ACCESS_KEY_ID": "m e"}, "a key or a token has a blank"),
    ],
)
def test_an_access_to_s3_that_is_not_clear_is_refused(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], words: str
) -> None:
    """Before a request goes anywhere."""
    set_aws(monkeypatch, **values)
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        load_aws_settings()
    assert "s3cret" not in str(caught.value.failure)
