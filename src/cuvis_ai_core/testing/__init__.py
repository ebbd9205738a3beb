"""What authors of plugins need to test them as users will load them."""

from cuvis_ai_core.testing.git_host import GitHost

__all__ = ["GitHost"]
