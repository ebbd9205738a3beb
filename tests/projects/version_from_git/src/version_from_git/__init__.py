from importlib.metadata import version

__version__ = version("version-from-git")
