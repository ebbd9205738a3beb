"""Every error that this package raises on purpose.

    CuvisError
    ├── ManifestError (ValueError)            a plugins.yaml, or one plugin's entry, breaks a rule
    │   └── ModelRegistryConflict             two declare weights of one name
    ├── NodeError
    │   ├── NodeNotFoundError (KeyError)      no node of that name
    │   ├── AmbiguousNodeError (KeyError)     several loaded plugins provide that short name
    │   ├── DuplicateNodeError (ValueError)   a second built-in node of one name
    │   └── InvalidNodeError (TypeError)      a class that is no node, or ports that cannot be read
    ├── PluginError
    │   ├── PluginLoadError (ImportError)     one plugin failed to load; `step` and `__cause__` say where and why
    │   ├── PluginsLoadError (ExceptionGroup)   some plugins of a manifest failed; `loaded` and `failed` say which
    │   ├── PluginConflictError (ValueError)  a name that is loaded already, with another configuration
    │   ├── PluginNotLoadedError (KeyError)   a name that is not loaded
    │   ├── PluginModuleError (ModuleNotFoundError)   data names a class of a plugin that is not at hand
    │   ├── DiscoveryError (ImportError)      a pip-installed plugin could not be imported
    │   ├── HookError (TypeError)             a hook with a wrong signature or a result of a wrong type
    │   ├── SourceError                       the code of a plugin cannot be had
    │   │   ├── LocalPathError (FileNotFoundError)
    │   │   ├── RepositoryNotFoundError
    │   │   ├── TagNotFoundError
    │   │   ├── AuthenticationError
    │   │   ├── NetworkError
    │   │   │   └── OfflineError          no connection may be opened, and something is missing
    │   │   └── CacheMismatchError            what lies in the cache is not what was put there, or its tag moved
    │   ├── LockError (ValueError)            a lock file cannot be read, or does not say what is there
    │   ├── BundleError (ValueError)          a bundle cannot be read, or holds what it must not
    │   ├── PolicyError (ValueError)          the policy of this machine cannot be read, or breaks a rule
    │   ├── NotAllowedError                   the policy of this machine does not allow a plugin; `rule` says where
    │   │   └── SignatureError                its tag is not signed as the policy asks; `reason` says in which way
    │   ├── PreparationError                  a manifest cannot be locked or bundled; `failed` says why
    │   ├── ProjectFileError (ValueError)     pyproject.toml is missing or breaks a rule
    │   ├── InstallError                      uv could not build, resolve or install
    │   │   ├── BuildError
    │   │   ├── DependencyNotFoundError
    │   │   └── DependencyConflictError
    │   ├── OperatorConflictError (RuntimeError)    a torch operator of that name is registered already
    │   ├── ToolNotFoundError (FileNotFoundError)   git or uv is not there
    │   ├── TimeLimitError (TimeoutError)     git or uv took longer than allowed
    │   ├── StoreError (OSError)              the plugin cache cannot be read or written
    │   └── WorkerError (RuntimeError)        a plugin's worker process cannot do what is asked of it
    │       ├── WorkerCrashError              it ended; `log` names the file with its last words
    │       │   └── WorkerEndedError          it had ended before anything was asked of it
    │       ├── WorkerTimeoutError (TimeoutError)   it took longer than it may, and was ended
    │       └── RemoteError                   code in it raised; `kind` and `trace` say what and where
    ├── YamlError (ValueError)                a YAML file cannot be read; whoever wanted it says what it is
    ├── PipelineError (ValueError)            a pipeline file or graph breaks a rule
    │   ├── PortError                         an unknown, missing, doubled or incompatible port
    │   └── NodeRunError (RuntimeError)       a node's `forward` or `prepare_inference` failed
    ├── CubeError (ValueError)                a cube cannot be read
    ├── AnnotationError (ValueError)          masks or COCO annotations cannot be read, or do not fit their cube
    ├── BatchError (RuntimeError)            a run on many cubes cannot begin, or cannot go on
    ├── OutputError (OSError)                results cannot be written there, or would overwrite others
    ├── TrainRunError (ValueError)            a trainrun file breaks a rule, or does not fit its pipeline or its data
    │   └── SplitConstraintError (RuntimeError)  a split breaks what it promises, or that cannot be told
    ├── TrainingError (RuntimeError)          training failed
    │   └── TrainingStoppedError              training was stopped by the event that it was given
    ├── ServiceError (RuntimeError)           a call of the gRPC service is refused, or failed; `code` says how
    ├── ModelDownloadError (RuntimeError)     weights of a model cannot be fetched, carried or removed
    │   └── ModelWeightsMissingError          they are not there, and may not be fetched
    ├── DatasetError (RuntimeError)           a public data set cannot be found, fetched or removed
    └── MissingExtraError (ImportError)       an optional part of the package is not installed

The text of an error says what, where and the rule; its `hint` is the next step and ends the text. The objects
concerned are attributes, so that programs need not read texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any, Self


class CuvisError(Exception):
    """Base of all errors of this package.

    Args:
        message: What happened, where, and the rule that was broken.
        hint: The next step for the reader, shown on lines of its own.
        attributes: The objects concerned, stored under their names; `place` is the line of an author's code that it
            comes from, as `FILE, line NUMBER`; `begun` tells of a run on many cubes whether any was begun.
    """

    hint: str | None = None
    place: str | None = None
    begun: bool | None = None

    def __init__(self, message: str, *, hint: str | None = None, **attributes: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        vars(self).update(attributes)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ManifestError(CuvisError, ValueError):
    """A manifest, or the entry of one plugin, breaks a rule."""

    path: Path | None = None
    line: int | None = None
    key: str | None = None
    plugin: str | None = None


class ModelRegistryConflict(ManifestError):  # noqa: N818 - the published name
    """Two plugins, or two manifests, declare weights of one name."""


class NodeError(CuvisError):
    """Base of the errors about node classes."""

    node: str


class NodeNotFoundError(NodeError, KeyError):
    """No node of that name is known."""


class AmbiguousNodeError(NodeError, KeyError):
    """Several loaded plugins provide a node of that short name."""

    candidates: tuple[str, ...] = ()


class DuplicateNodeError(NodeError, ValueError):
    """A second built-in node was registered under one name."""


class InvalidNodeError(NodeError, TypeError):
    """A class is no node, or its ports cannot be read."""

    plugin: str | None = None


class PluginError(CuvisError):
    """Base of the errors about plugins."""

    plugin: str | None = None


class PluginLoadError(PluginError, ImportError):
    """One plugin failed to load; everything is as it was before.

    `step` is what was done about it: downloading, resolving, installing, importing or registering. `__cause__` is the
    error that says why.
    """

    plugin: str
    step: str


class PluginsLoadError(PluginError, ExceptionGroup[Exception]):
    """Some plugins of a manifest failed to load; the others stay loaded.

    A group of the errors of those that failed: `except* PluginLoadError` takes them out, and a traceback shows each.

    Args:
        message: What happened, with the texts of all errors.
        hint: The next step.
        loaded: Names of the plugins that are loaded.
        failed: Why the others are not, by name.
    """

    loaded: tuple[str, ...] = ()
    failed: Mapping[str, Exception]
    message = ""  # that of an exception group cannot be set

    def __new__(cls, message: str, *, failed: Mapping[str, Exception], **_: object) -> Self:
        """Make the group."""
        return super().__new__(cls, message, list(failed.values()))

    def __init__(self, message: str, **attributes: object) -> None:
        super().__init__(message, **attributes)  # type: ignore[arg-type]

    def derive(self, errors: Sequence[Exception], /) -> Self:  # type: ignore[override]
        """Return a group of some of the errors, as `except*` and `split` need it."""
        failed = {name: error for name, error in self.failed.items() if error in errors}
        return type(self)(self.message, hint=self.hint, loaded=self.loaded, failed=failed)

    def __reduce__(self) -> tuple[Any, ...]:
        return _group, (type(self), self.message, self.failed), vars(self)


def _group(kind: type[PluginsLoadError], message: str, failed: Mapping[str, Exception]) -> PluginsLoadError:
    """Make a group again that was copied or pickled."""
    return kind(message, failed=failed)


class PluginConflictError(PluginError, ValueError):
    """A plugin name is in use with another configuration."""


class PluginNotLoadedError(PluginError, KeyError):
    """No plugin of that name is loaded."""


class PluginModuleError(PluginError, ModuleNotFoundError):
    """Data names a class of a plugin that is neither loaded nor in the plugin cache; `name` is its private package."""

    plugin: str


class DiscoveryError(PluginError, ImportError):
    """A pip-installed plugin could not be imported."""

    distribution: str | None = None
    version: str | None = None


class HookError(PluginError, TypeError):
    """A hook implementation has a wrong signature or answered something of a wrong type."""

    hook: str


class SourceError(PluginError):
    """The code of a plugin cannot be had."""

    location: str


class LocalPathError(SourceError, FileNotFoundError):
    """The path of a local plugin is not there or is no project."""


class RepositoryNotFoundError(SourceError):
    """There is no such repository, or it is hidden from us."""


class TagNotFoundError(SourceError):
    """The repository has no such tag."""

    tag: str


class AuthenticationError(SourceError):
    """The repository asks for credentials that git does not have."""


class NetworkError(SourceError):
    """The host of the repository or of the packages cannot be reached."""


class OfflineError(NetworkError):
    """No connection may be opened, and something is neither in the plugin cache nor in that of uv."""


class CacheMismatchError(SourceError):
    """What lies in the plugin cache is not what was put there, or not what its tag names now."""

    path: Path | None = None


class LockError(PluginError, ValueError):
    """A lock file cannot be read or written, or differs from its manifest, from a repository or from this platform."""

    path: Path


class BundleError(PluginError, ValueError):
    """A bundle is damaged, is for another platform, or holds what `cuvis-ai plugins bundle` never writes."""


class PolicyError(PluginError, ValueError):
    """The policy of this machine cannot be read, or breaks a rule: nothing is loaded until it is mended."""

    path: Path


class NotAllowedError(PluginError):
    """The policy of this machine does not allow a plugin; `rule` is the place in it, as `FILE:LINE`."""

    rule: str


class SignatureError(NotAllowedError):
    """A tag is not signed as the policy asks; `reason` is `unsigned`, `wrong`, `expired` or `unknown`."""

    reason: str


class PreparationError(PluginError):
    """A manifest cannot be locked or bundled: a plugin fails on the way, or plugins cannot live together."""

    failed: Mapping[str, Exception] = {}


class ProjectFileError(PluginError, ValueError):
    """A plugin's pyproject.toml is missing or breaks a rule."""

    path: Path


class InstallError(PluginError):
    """uv could not build, resolve or install; `output` holds its own words."""

    output: str = ""


class BuildError(InstallError):
    """The plugin's build failed."""


class DependencyNotFoundError(InstallError):
    """A dependency, or the version asked for, does not exist."""


class DependencyConflictError(InstallError):
    """A dependency cannot be satisfied together with what is installed or live."""

    requirement: str
    installed: str | None = None


class OperatorConflictError(PluginError, RuntimeError):
    """A torch operator of that name is registered already, by other code of this process."""


class ToolNotFoundError(PluginError, FileNotFoundError):
    """A program that loading needs is not there."""

    tool: str


class TimeLimitError(PluginError, TimeoutError):
    """A program took longer than it may."""

    command: str
    seconds: float


class StoreError(PluginError, OSError):
    """The plugin cache cannot be read or written."""

    path: Path


class WorkerError(PluginError, RuntimeError):
    """The worker process of a plugin with `isolation: process` cannot do what is asked of it.

    `node` is the node that was asked, where there is one; `log` the file that has the worker's last words.
    """

    node: str | None = None
    log: Path | None = None


class WorkerCrashError(WorkerError):
    """A worker process ended while it was needed; the next call starts another one."""

    status: int | None = None


class WorkerEndedError(WorkerCrashError):
    """A worker process had ended before anything was asked of it: another one can be asked."""


class WorkerTimeoutError(WorkerError, TimeoutError):
    """A worker process took longer than it may for one call, and was ended."""

    seconds: float


class RemoteError(WorkerError):
    """Code in a worker process raised an exception.

    It is an instance of the built-in class of the same name too, where there is one (`ValueError`, `KeyError`, …).

    `kind` is the name of its class, `words` its text, `trace` the traceback as text.
    """

    kind: str
    words: str
    trace: str


class YamlError(CuvisError, ValueError):
    """A YAML file cannot be read; those who wanted it add what it was to be."""

    path: Path | None = None
    line: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, f" {self.message}") if part).strip()


class PipelineError(CuvisError, ValueError):
    """A pipeline file or graph breaks a rule."""

    path: Path | None = None
    node: str | None = None
    stage: str | None = None
    cycle: tuple[str, ...] = ()


class PortError(PipelineError):
    """A port is unknown, missing, doubled or does not fit the other end."""

    node: str
    port: str | None = None
    missing: tuple[tuple[str, str], ...] = ()


class NodeRunError(PipelineError, RuntimeError):
    """A node's `forward`, or its `prepare_inference`, failed; `__cause__` is its own exception.

    Where it wrote into what it was given, `port` is that input, and `readers` says who else has the same values.
    """

    node: str
    port: str | None = None
    readers: tuple[str, ...] = ()


class CubeError(CuvisError, ValueError):
    """A cube cannot be read."""

    path: Path | None = None


class AnnotationError(CuvisError, ValueError):
    """Masks or COCO annotations cannot be read, or do not fit their cube."""

    path: Path | None = None


class BatchError(CuvisError, RuntimeError):
    """A run on many cubes cannot begin, or cannot go on."""

    kind: str | None = None
    node: str | None = None


class OutputError(CuvisError, OSError):
    """A folder of results cannot be written, or holds what is not to be overwritten."""


class TrainRunError(CuvisError, ValueError):
    """A trainrun file breaks a rule, or does not fit its pipeline or its data."""

    path: Path | None = None
    line: int | None = None
    key: str | None = None


class SplitConstraintError(TrainRunError, RuntimeError):
    """A split breaks what it promises of itself, or the data do not say whether it does."""


class TrainingError(CuvisError, RuntimeError):
    """Training failed."""

    path: Path | None = None


class TrainingStoppedError(TrainingError):
    """Training was stopped by the event that it was given; a node that was learning has learned a part."""


class ServiceError(CuvisError, RuntimeError):
    """A call of the gRPC service is refused, or failed.

    `code` is the name of its gRPC status: `NOT_FOUND`, `PERMISSION_DENIED`, ... Where the server failed, `id` is the
    number under which its log has the rest.
    """

    code: str
    id: str | None = None


class ModelDownloadError(CuvisError, RuntimeError):
    """Weights of a model cannot be fetched, carried or removed."""


class ModelWeightsMissingError(ModelDownloadError):
    """Weights of a model are not there, and may not be fetched."""


class DatasetError(CuvisError, RuntimeError):
    """A public data set cannot be found, fetched or removed."""


class MissingExtraError(CuvisError, ImportError):
    """An optional part of this package is not installed."""

    extra: str
