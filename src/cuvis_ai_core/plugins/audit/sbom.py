"""A bill of materials of a manifest's plugins in CycloneDX, for the scanners that people have already."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core.errors import LockError, MissingExtraError

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.audit.auditing import Audit, AuditedDependency, AuditedPlugin

_PROPERTY: Final = "cuvis-ai-core"


def require_sbom() -> None:
    """Raise if the library that writes bills of materials is not there.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import_module("cyclonedx.output")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"A bill of materials needs the package 'cyclonedx-python-lib', which is not installed ({error.name}).",
            hint="Install the extra: pip install 'cuvis-ai-core[audit]'",
            extra="audit",
        ) from error


def write_sbom(audit: "Audit", file: Path) -> None:
    """Write the plugins of a manifest with their locked dependencies as CycloneDX 1.6, JSON.

    Args:
        audit: What was found out about them.
        file: The file; what is there is replaced.

    Raises:
        LockError: The manifest is not locked: nobody knows what its plugins depend on.
        MissingExtraError: The extra `audit` is not installed.
        OSError: The file cannot be written.
    """
    require_sbom()
    if audit.lock is None:
        raise LockError(
            f"{audit.manifest} has no lock file: which versions its plugins depend on is not known.",
            hint=f"Write it: cuvis-ai plugins lock {audit.manifest}",
            path=audit.manifest,
        )
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    write_atomic(file, make_outputter(_bom(audit), OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2))


def _bom(audit: "Audit") -> Any:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType

    bom, known = Bom(), dict[str, Component]()
    root = Component(name=audit.manifest.name, type=ComponentType.APPLICATION, bom_ref="manifest")
    bom.metadata.component = root
    plugins = []
    for plugin in audit.plugins:
        component = _plugin(plugin)
        for each in plugin.dependencies:
            # One component for several plugins: a bom-ref stands for one thing in a document.
            known.setdefault(each.pin, _dependency(each))
        bom.components.add(component)
        bom.register_dependency(component, [known[each.pin] for each in plugin.dependencies])
        plugins.append(component)
    bom.components.update(known.values())
    bom.register_dependency(root, plugins)
    return bom


def _plugin(plugin: "AuditedPlugin") -> Any:
    from packageurl import PackageURL

    where = {"vcs_url": f"git+{plugin.source}@{plugin.commit}"} if plugin.commit else {}
    return _component(
        plugin.name,
        plugin.tag,
        PackageURL("generic", None, plugin.name, plugin.tag, where),
        plugin.licence,
        {"kind": plugin.standing.kind, "source": plugin.source, "signature": plugin.standing.signature},
    )


def _dependency(each: "AuditedDependency") -> Any:
    from packageurl import PackageURL

    name, _, version = each.pin.partition(" @ ")[0].partition("==")
    address = each.pin.partition(" @ ")[2]
    where = {"vcs_url" if address.startswith("git+") else "download_url": address} if address else {}
    told = {"built from source": "true"} if each.built else {}
    told |= {f"hash {number}": digest for number, digest in enumerate(each.hashes, 1)}
    return _component(name, version or None, PackageURL("pypi", None, name, version or None, where), each.licence, told)


def _component(name: str, version: str | None, purl: Any, licence: str, told: dict[str, str]) -> Any:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense

    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        # By name: what metadata say need not be an identifier of SPDX.
        licenses=[DisjunctiveLicense(name=licence)] if licence else [],
        properties=[Property(name=f"{_PROPERTY}:{key}", value=value) for key, value in told.items()],
    )
