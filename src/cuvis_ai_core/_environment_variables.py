"""Which environment variables pass to the programs that are started, to whom and why.

They are chosen by name; none is inherited because it happens to be there. A shell may carry variables that steer
another program altogether: `PYTHONPATH` of a robot's workspace would put an old setuptools into a build, `GIT_DIR` of
a hook names the user's own repository, `UV_TARGET` would install elsewhere. And what opens doors for the user is no
business of a plugin: builds and workers, which run its code, get no tokens. `CUVIS_PASS_VARIABLES` names further ones.
"""

import os
import re
import sys
from typing import Final

PASSED: Final = "CUVIS_PASS_VARIABLES"
"""Names of variables, separated by commas, that all programs get as well."""

# Who the user is, where programs, libraries and temporary files lie. Of what a system preloads, nothing.
_SYSTEM: Final = (
    r"PATH|HOME|USER|LOGNAME|SHELL|TZ|TERM|TMPDIR|TEMP|TMP|XDG_\w+|(DY)?LD_(FALLBACK_)?LIBRARY_PATH|NIX_LD\w*"
    r"|LOCALE_ARCHIVE|LOCPATH|GLIBC_TUNABLES|MALLOC_\w+"
    # Windows, which keeps the names in capitals.
    r"|SYSTEM(ROOT|DRIVE)|WINDIR|COMSPEC|PATHEXT|(LOCAL)?APPDATA|PROGRAMDATA|ALLUSERSPROFILE|USERPROFILE|USERNAME"
    r"|HOME(DRIVE|PATH)|(COMMON)?PROGRAM(FILES|W6432)(\(X86\))?|NUMBER_OF_PROCESSORS|PROCESSOR_\w+|OS"
)

# How hosts are reached, and whom to trust.
_NETWORK: Final = (
    r"(?i:(http|https|all|no)_proxy)|SSL_CERT_(FILE|DIR)|NIX_SSL_CERT_FILE|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE"
)

# What proves to hosts and proxies who the user is: files, not their contents.
_TICKETS: Final = r"NETRC|KRB5\w+"
_CERTIFICATE: Final = r"SSL_CLIENT_CERT"

# How a user's git reaches hosts and is configured; git's other variables say which repository it works on, or trace.
_GIT: Final = (
    r"GIT_(CONFIG_(COUNT|KEY_\d+|VALUE_\d+|GLOBAL|SYSTEM|NOSYSTEM)|SSH(_\w+)?|ASKPASS|SSL_\w+|HTTP_\w+|PROXY_\w+"
    r"|ALLOW_PROTOCOL|EXEC_PATH)|SSH_(AUTH_SOCK|AGENT_PID|ASKPASS(_REQUIRE)?)|GCM_\w+|VSCODE_GIT_\w+"
)

# What programs that keep passwords ask with.
_KEYRING: Final = (
    r"DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|DBUS_SESSION_BUS_ADDRESS|GNUPGHOME|GPG_(TTY|AGENT_INFO)|PASSWORD_STORE_DIR"
)

# A credential helper of the user may read what it hands out from a variable, as continuous integration has it. Git
# runs no code of a plugin: it may have them.
_CREDENTIALS: Final = (
    r"(?!(GIT|UV|PIP|LD|PYTHON)_)\w*(TOKEN|PASS|PASSWD|PASSWORD|SECRET|CREDENTIALS?|USER|USERNAME|LOGIN|AUTH|PAT|KEY)"
    r"(_\w+)?|(GH|GITHUB|GITLAB|GLAB|CI|AWS|AZURE|GOOGLE|CLOUDSDK|BITBUCKET|GITEA|FORGEJO|VAULT|OP|BW)_\w+"
)

# Where packages are, and how they travel; uv's other variables would change what is asked of it.
_UV: Final = (
    r"UV_(INDEX(_\w+)?|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TORCH_BACKEND|EXCLUDE_NEWER|KEYRING_PROVIDER"
    r"|CREDENTIALS_DIR|CACHE_DIR|NO_CACHE|LINK_MODE|LOCK_TIMEOUT|OFFLINE|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"
    r"|(HTTP|HTTPS|ALL|NO)_PROXY|HTTP_\w+|REQUEST_TIMEOUT|CONCURRENT_\w+|(S3|GCS|AZURE)_ENDPOINT_URL)"
)

# The same of pip, which few builds call.
_PIP: Final = (
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|TIMEOUT|DEFAULT_TIMEOUT|RETRIES"
    r"|KEYRING_PROVIDER|CONFIG_FILE|CACHE_DIR|DISABLE_PIP_VERSION_CHECK)"
)

# Which compilers a build takes, with which flags, and where libraries lie.
_BUILD: Final = (
    r"CC|CXX|CPP|FC|F77|F90|AR|AS|LD|NM|RANLIB|STRIP|LDSHARED|MAKE|(C|CXX|CPP|LD|F|FC|ARCH|MAKE|RUST|NVCC_?)FLAGS"
    r"|C?PATH|(C|CPLUS|OBJC)_INCLUDE_PATH|LIBRARY_PATH|PKG_CONFIG\w*|CMAKE_\w+|SKBUILD_\w+|NINJA_STATUS|MAX_JOBS"
    r"|SDKROOT|DEVELOPER_DIR|MACOSX_DEPLOYMENT_TARGET|_PYTHON_HOST_PLATFORM|CUDA(CXX|HOSTCXX)|(CUDA|ROCM|HIP)_\w+"
    r"|TORCH_CUDA_ARCH_LIST|FORCE_CUDA|RUSTC?(UP_\w+|_WRAPPER)?|CARGO_(HOME|TARGET_DIR|BUILD_\w+|NET_\w+|HTTP_\w+)"
    r"|MATURIN_\w+|INCLUDE|LIB|LIBPATH|VS\w*COMNTOOLS|VSINSTALLDIR|VC\w+|WINDOWSSDK\w+|UNIVERSALCRT\w+|UCRTVERSION"
    r"|DISTUTILS_USE_SDK|MSSDK"
    r"|(?!(GIT|UV|PIP|CONDA|VIRTUAL|SETUPTOOLS|HATCH|POETRY|PDM|CUVIS)_)[A-Z][A-Z0-9]*_(DIR|ROOT|HOME|CONFIG|INCDIR|LIBDIR)"
)

# What libraries need to compute, and to find devices, models and settings.
_LIBRARIES: Final = (
    r"PWD|LANG|LANGUAGE|LC_\w+|DISPLAY|WAYLAND_DISPLAY|(DY)?LD_PRELOAD\w*|CUDA_\w+|NVIDIA_\w+|CUDNN_\w+|NCCL_\w+"
    r"|ROCR?_\w+|HIP_\w+|HSA_\w+|XPU_\w+|ONEAPI_\w+|SYCL_\w+"
    r"|(OMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|KMP|GOTO|TBB|RAYON|NUMBA)_\w+|PYTORCH_\w+|TORCH_\w+"
    r"|(HF|TRANSFORMERS|SENTENCE_TRANSFORMERS)_(HOME|HUB_CACHE|DATASETS_CACHE|HUB_OFFLINE|OFFLINE|CACHE)|MPLBACKEND"
    r"|MPLCONFIGDIR|QT_\w+|GENICAM_\w+|CUVIS|CUVIS_SETTINGS|CUVIS_OFFLINE|CUVIS_POLICY"
)

_TELLING: Final = r"TOKEN|SECRET|PASS|CREDENTIAL|KEY|AUTH|LICEN[CS]E"

_USER_IN_ADDRESS: Final = r"(^|//)[^/@\s]+@"

_ENGLISH: Final = {"LC_ALL": "C", "LANGUAGE": ""}
"""Programs say everywhere what we know to read."""

_UTF8: Final = {} if sys.platform == "win32" else {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
"""A build reads texts as it would in a usual shell, not in that of a cron job (`LC_ALL=C`)."""


def git_variables() -> dict[str, str]:
    """Return what git gets: what the user's own git would have, but no repository."""
    return _kept(_SYSTEM, _NETWORK, _TICKETS, _CERTIFICATE, _GIT, _KEYRING, _CREDENTIALS) | _ENGLISH


def uv_variables(*, builds: bool) -> dict[str, str]:
    """Return what uv gets.

    Args:
        builds: Whether it builds a plugin, whose code then gets it too: nothing that opens repositories, or proves who
            the user is. Passwords of indexes and proxies are still among it (see `installing.index_credentials`).
    """
    quiet = {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0"}
    doors = () if builds else (_TICKETS, _GIT)
    kept = _kept(_SYSTEM, _NETWORK, _CERTIFICATE, _KEYRING, *doors, _UV, _PIP)
    # uv hands none of these on in another way: the address of a proxy of cargo's may hold a password.
    kept |= {name: value for name, value in _kept(_BUILD).items() if not re.search(_USER_IN_ADDRESS, value)}
    # uv takes an empty value for a missing one.
    kept = {name: value for name, value in kept.items() if value or not name.startswith("UV_")}
    return kept | _ENGLISH | _UTF8 | quiet


def worker_variables() -> dict[str, str]:
    """Return what a worker gets: what programs and libraries need, and nothing that lets anybody in."""
    found = _kept(_SYSTEM, _NETWORK, _LIBRARIES, passing=False)
    # A proxy's address may hold a password.
    secret = {name for name in found if re.search(_TELLING, name, re.IGNORECASE)}
    secret |= {name for name, value in found.items() if re.search(_USER_IN_ADDRESS, value)}
    return {name: value for name, value in found.items() if name not in secret} | _kept()


def passed_names() -> set[str]:
    """Return the names of the variables that the user wants all programs to have."""
    return {name.strip() for name in os.environ.get(PASSED, "").split(",")}


def _kept(*patterns: str, passing: bool = True) -> dict[str, str]:
    names = passed_names() if passing else set()
    # Each by itself: they are compiled once, whoever asks for which of them.
    return {
        name: value
        for name, value in os.environ.items()
        if name in names or any(re.fullmatch(pattern, name) for pattern in patterns)
    }
