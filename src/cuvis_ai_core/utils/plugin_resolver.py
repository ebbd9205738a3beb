"""The published import path of what finds the manifests of the plugins that a pipeline names."""

from cuvis_ai_core.plugins.manifest_folders import resolve_pipeline_plugins

__all__ = ["resolve_pipeline_plugins"]
