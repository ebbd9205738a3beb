"""The published import path of what runs are told and tell, which is that of the schemas."""

from cuvis_ai_schemas.enums import ArtifactType, ExecutionStage
from cuvis_ai_schemas.execution import Artifact, Context, InputStream, Metric

__all__ = ["Artifact", "ArtifactType", "Context", "ExecutionStage", "InputStream", "Metric"]
