"""Which settings of uv and pip count, in which order, and what they become for uv."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.plugins.installing.index_credentials import hidden
from cuvis_ai_core.plugins.installing.index_settings import default_cache, pip_settings, uv_settings

Put = Callable[[str, str], Path]

posix = pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="folders are those of Linux")


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Return a function that writes a file below this test's folder, where all settings are looked for."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/strong:{tmp_path}/weak")

    def put(name: str, text: str) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return put


@posix
def test_the_files_of_uv_count_as_uv_has_it(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's before the system's, the first of these before others; one that is named alone; or none at all."""
    put("weak/uv/uv.toml", 'index-url = "weak:x"\nexclude-newer = "weak"\nlink-mode = "copy"')
    put("strong/uv/uv.toml", 'index-url = "strong:x"\nexclude-newer = "strong"')
    assert uv_settings()["index-url"] == "strong:x"
    put("user/uv/uv.toml", 'index-url = "user:x"')
    assert uv_settings() == {"index-url": "user:x", "exclude-newer": "strong", "link-mode": "copy"}
    monkeypatch.setenv("UV_CONFIG_FILE", str(put("own.toml", 'index-url = "own:x"')))
    assert uv_settings() == {"index-url": "own:x"}
    for word in ("1", "true", "Yes"):
        monkeypatch.setenv("UV_NO_CONFIG", word)
        assert uv_settings() == {}
    monkeypatch.setenv("UV_NO_CONFIG", "0")
    assert uv_settings() == {"index-url": "own:x"}
    put("own.toml", "no toml")
    assert uv_settings() == {}


def test_only_where_packages_are_and_how_they_travel_is_kept(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are seen from the file, addresses stay; what would change what is asked of uv does not count."""
    path = put(
        "own.toml",
        """
        no-binary = true
        resolution = "lowest"
        exclude-newer-package = {}
        concurrent-builds = 2
        cache-dir = "cache"
        extra-index-url = ["more", "https://a.org/x"]
        find-links = ["wheels", "/abs", "C:x"]
        [[index]]
        name = "lab"
        url = "simple"
        [[index]]
        url = "https://b.org/x"
        [pip]
        no-build = true
        index-url = "below"
        find-links = ["file:///x"]
        """,
    )
    monkeypatch.setenv("UV_CONFIG_FILE", str(path))
    at = path.parent
    assert uv_settings() == {
        "exclude-newer-package": {},
        "concurrent-builds": 2,
        "cache-dir": f"{at}/cache",
        "extra-index-url": [f"{at}/more", "https://a.org/x"],
        "find-links": [f"{at}/wheels", "/abs", f"{at}/C:x"],
        "index": [{"name": "lab", "url": f"{at}/simple"}, {"url": "https://b.org/x"}],
        "pip": {"index-url": f"{at}/below", "find-links": ["file:///x"]},
    }


@posix
def test_the_files_of_pip_count_as_pip_has_it(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the system's to the one that is named, and the section of the command and variables before all."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    is_there = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: is_there(path) and os.fspath(path) != "/etc/pip.conf")
    for place in ("weak/pip/pip.conf", "strong/pip/pip.conf", "home/.pip/pip.conf", "user/pip/pip.conf"):
        put(place, f"[global]\nproxy = {place}\ncert = weak\n" if "weak" in place else f"[global]\nproxy = {place}\n")
        assert pip_settings({})[1] == {"ALL_PROXY": place, "SSL_CERT_FILE": "weak"}
    put("prefix/pip.conf", "[install]\nproxy = %prefix\n[global]\nproxy = global\nclient_cert = x\n")
    assert pip_settings({})[1] == {"ALL_PROXY": "%prefix", "SSL_CERT_FILE": "weak", "SSL_CLIENT_CERT": "x"}
    monkeypatch.setenv("PIP_CONFIG_FILE", str(put("own.conf", "[global]\nproxy = own\n")))
    assert pip_settings({})[1]["ALL_PROXY"] == "own"
    monkeypatch.setenv("PIP_PROXY", "")
    assert pip_settings({})[1]["ALL_PROXY"] == "own"
    monkeypatch.setenv("PIP_PROXY", "variable")
    assert pip_settings({})[1]["ALL_PROXY"] == "variable"
    monkeypatch.delenv("PIP_PROXY")
    put("own.conf", "no section")
    assert pip_settings({})[1]["ALL_PROXY"] == "%prefix"
    (tmp_path / "own.conf").write_bytes(b"[global]\nproxy = \xff\n")
    assert pip_settings({})[1]["ALL_PROXY"] == "%prefix"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert pip_settings({}) == ({}, {})


@pytest.mark.parametrize(
    ("pip", "uv", "environment", "settings"),
    [
        ({}, {}, {}, {}),
        (
            {"INDEX_URL": "https://a"},
            {},
            {},
            {"index": [{"url": "https://a", "default": True}], "index-strategy": "unsafe-best-match"},
        ),
        (
            {"INDEX_URL": "https://a", "EXTRA_INDEX_URL": "https://b https://c"},
            {"link-mode": "copy"},
            {},
            {
                "index": [{"url": "https://b"}, {"url": "https://c"}, {"url": "https://a", "default": True}],
                "index-strategy": "unsafe-best-match",
            },
        ),
        (
            {"EXTRA_INDEX_URL": "https://b"},
            {},
            {},
            {"index": [{"url": "https://b"}], "index-strategy": "unsafe-best-match"},
        ),
        ({"FIND_LINKS": "https://a /gone"}, {}, {}, {"find-links": ["https://a"]}),
        *(
            ({"INDEX_URL": "https://a", "FIND_LINKS": "https://a"}, {key: "x"}, {}, {})
            for key in ("index", "index-url", "extra-index-url", "find-links", "no-index")
        ),
        *(
            ({"INDEX_URL": "https://a"}, {}, {f"UV_{name}": "x"}, {})
            for name in ("INDEX", "INDEX_URL", "DEFAULT_INDEX", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX")
        ),
        ({"TRUSTED_HOST": "a b"}, {"index": "x"}, {}, {"allow-insecure-host": ["a", "b"]}),
        ({"TRUSTED_HOST": "a"}, {"allow-insecure-host": ["x"]}, {}, {}),
        ({"TRUSTED_HOST": "a"}, {}, {"UV_INSECURE_HOST": "x"}, {}),
        ({"KEYRING_PROVIDER": "subprocess"}, {}, {}, {"keyring-provider": "subprocess"}),
        ({"KEYRING_PROVIDER": "import"}, {}, {}, {}),
        ({"KEYRING_PROVIDER": "subprocess"}, {"keyring-provider": "disabled"}, {}, {}),
    ],
)
def test_where_uv_has_none_of_its_own_settings_of_pip_hold(
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    pip: Mapping[str, str],
    uv: Mapping[str, Any],
    environment: Mapping[str, str],
    settings: Mapping[str, Any],
) -> None:
    """All or nothing where packages are; one by one what is asked of hosts."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name, value in ({f"PIP_{name}": value for name, value in pip.items()} | dict(environment)).items():
        monkeypatch.setenv(name, value)
    assert pip_settings(uv)[0] == settings


def test_a_folder_of_wheels_is_seen_from_the_working_directory(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip sees it; uv is run in another one."""
    put("wheels/x", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "wheels gone file:///x")
    assert pip_settings({})[0] == {"find-links": [str(tmp_path / "wheels"), "file:///x"]}


def test_variables_that_are_set_come_before_those_of_pip(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates, time limits and proxies, whichever of these one has; of two limits the first."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("CERT", "CLIENT_CERT", "TIMEOUT", "DEFAULT_TIMEOUT", "PROXY"):
        monkeypatch.setenv(f"PIP_{name}", name.lower())
    expected = {
        "SSL_CERT_FILE": "cert",
        "SSL_CLIENT_CERT": "client_cert",
        "UV_HTTP_TIMEOUT": "timeout",
        "ALL_PROXY": "proxy",
    }
    assert pip_settings({})[1] == expected
    monkeypatch.delenv("PIP_TIMEOUT")
    assert pip_settings({})[1] == expected | {"UV_HTTP_TIMEOUT": "default_timeout"}
    for name in ("SSL_CERT_FILE", "SSL_CLIENT_CERT", "UV_HTTP_TIMEOUT"):
        monkeypatch.setenv(name, "own")
    assert pip_settings({})[1] == {"ALL_PROXY": "proxy"}
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "own")
            assert pip_settings({})[1] == {}


@posix
def test_where_uv_keeps_what_it_fetched(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's cache, wherever that is."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_cache() == Path("/elsewhere/uv")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_cache() == tmp_path / "home/.cache/uv"


SECRET = "https://u:p@a.org/x"


@pytest.mark.parametrize(
    ("variables", "settings", "left", "told"),
    [
        ({"UV_INDEX_URL": "https://a.org"}, {}, {"UV_INDEX_URL": "https://a.org"}, {}),
        ({"OTHER": SECRET}, {}, {"OTHER": SECRET}, {}),
        ({"UV_INDEX_URL": SECRET}, {}, {}, {"index": [{"url": SECRET, "default": True}]}),
        (
            {"UV_INDEX_URL": "https://b.org", "UV_DEFAULT_INDEX": SECRET},
            {},
            {},
            {"index": [{"url": SECRET, "default": True}]},
        ),
        (
            {"UV_INDEX": f"lab={SECRET} https://b.org", "UV_EXTRA_INDEX_URL": "https://c.org"},
            {"index": [{"url": "https://d.org", "default": True}], "extra-index-url": ["https://e.org"]},
            {},
            {
                "index": [
                    {"name": "lab", "url": SECRET},
                    {"url": "https://b.org"},
                    {"url": "https://c.org"},
                    {"url": "https://d.org", "default": True},
                    {"url": "https://e.org"},
                ]
            },
        ),
        (
            {"UV_DEFAULT_INDEX": f"a={SECRET}"},
            {"index-url": "https://d.org", "index": [{"url": "https://e.org"}]},
            {},
            {"index": [{"url": "https://e.org"}, {"name": "a", "url": SECRET, "default": True}]},
        ),
        (
            {"UV_INDEX_MY_LAB_USERNAME": "me@x", "UV_INDEX_MY_LAB_PASSWORD": "a/b"},
            {"index": [{"name": "my-lab", "url": "https://old@a.org/x"}, {"name": "other", "url": "https://b.org"}]},
            {},
            {
                "index": [
                    {"name": "my-lab", "url": "https://me%40x:a%2Fb@a.org/x"},
                    {"name": "other", "url": "https://b.org"},
                ]
            },
        ),
        (
            {"UV_INDEX_LAB_PASSWORD": "t"},
            {"index": [{"name": "lab", "url": "https://a.org"}, {"name": "lab", "url": "/folder"}]},
            {},
            {"index": [{"name": "lab", "url": "https://:t@a.org"}, {"name": "lab", "url": "/folder"}]},
        ),
        (
            {"UV_FIND_LINKS": f"{SECRET}, /wheels,"},
            {"find-links": ["/own"]},
            {},
            {"index": [], "find-links": [SECRET, "/wheels", "/own"]},
        ),
        ({"HTTP_PROXY": SECRET}, {}, {}, {"http-proxy": SECRET, "no-proxy": []}),
        (
            {"https_proxy": SECRET, "NO_PROXY": "a, b"},
            {},
            {"NO_PROXY": "a, b"},
            {"https-proxy": SECRET, "no-proxy": ["a", "b"]},
        ),
        (
            {"https_proxy": SECRET, "no_proxy": "a"},
            {"no-proxy": ["x"]},
            {"no_proxy": "a"},
            {"https-proxy": SECRET, "no-proxy": ["x"]},
        ),
        (
            {"ALL_PROXY": SECRET, "http_proxy": "https://v:q@b.org"},
            {},
            {},
            {"http-proxy": "https://v:q@b.org", "https-proxy": SECRET, "no-proxy": []},
        ),
        ({"HTTP_PROXY": "http://b.org"}, {}, {"HTTP_PROXY": "http://b.org"}, {}),
    ],
)
def test_what_has_a_password_is_said_in_settings(
    put: Put,
    variables: Mapping[str, str],
    settings: Mapping[str, Any],
    left: Mapping[str, str],
    told: Mapping[str, Any],
) -> None:
    """In uv's order: indexes of variables come first, the default is one, and proxies of one kind before the common."""
    before = dict(settings)
    assert hidden(variables, settings) == (left, told)
    assert settings == before


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://a.org/x", "https://me:p@a.org/x"),
        ("https://b.org/x", "https://b.org/x"),
        ("https://you@a.org/x", "https://you@a.org/x"),
    ],
)
def test_passwords_of_a_netrc_are_put_into_addresses(
    put: Put, monkeypatch: pytest.MonkeyPatch, url: str, found: str
) -> None:
    """Where builds may not see the variable that names it; an address with a user of its own keeps that."""
    monkeypatch.setenv("NETRC", str(put("tickets", "machine a.org login me password p\n")))
    assert hidden({"UV_INDEX_URL": url}, {})[1] == {"index": [{"url": found, "default": True}]}
    assert hidden({"UV_INDEX_URL": url, "NETRC": "x"}, {})[1] == (
        {} if "you@" not in url else {"index": [{"url": url, "default": True}]}
    )
    put("tickets", "no netrc")
    assert hidden({"UV_INDEX_URL": url}, {})[1] == {"index": [{"url": url, "default": True}]}
