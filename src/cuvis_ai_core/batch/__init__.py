"""One pipeline on many cubes: own processes on this machine, or Ray's on several; nothing is lost whatever dies.

The names are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late

if TYPE_CHECKING:
    from cuvis_ai_core.batch.failure_limits import Limits
    from cuvis_ai_core.batch.job_report import Report
    from cuvis_ai_core.batch.local_processes import Local
    from cuvis_ai_core.batch.on_ray import Ray
    from cuvis_ai_core.batch.python_api import run_cubes

__all__ = ["Limits", "Local", "Ray", "Report", "run_cubes"]

__getattr__, __dir__ = late(
    __name__,
    {
        "Limits": "cuvis_ai_core.batch.failure_limits",
        "Local": "cuvis_ai_core.batch.local_processes",
        "Ray": "cuvis_ai_core.batch.on_ray",
        "Report": "cuvis_ai_core.batch.job_report",
        "run_cubes": "cuvis_ai_core.batch.python_api",
    },
)
