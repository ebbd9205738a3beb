"""What the site has beside `docs`: the READMEs of the example plugins, and the folder `deploy`.

A hook of MkDocs (mkdocs.yml). Links that lead out of `docs`, as a Git host follows them, lead to these pages.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(ROOT.glob("example_plugins/*/README.md"))
DEPLOY = "deploy.md"
_OUT = re.compile(r"\]\((?:\.\./)+(example_plugins|deploy)/?([\w-]*)(?:/README\.md)?/?\)")
_BOOSTS = {
    "how-to/questions": 4.0,
    "how-to/": 2.0,
    "decisions/": 0.2,
    "index": 0.2,
    "examples/": 0.4,
    "reference/api": 0.4,
}
"""What the search finds first: what answers a question, before why it is so."""
_IN = re.compile(r"\]\((?:\.\./)+docs/")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages that are added."""
    examples = {page.parent.name.replace("_", " ").capitalize(): f"examples/{page.parent.name}.md" for page in EXAMPLES}
    (section,) = (each for each in config.nav or [] if "Examples" in each)
    section["Examples"] = [{title: place} for title, place in examples.items()] + [{"Deployment": DEPLOY}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for page in EXAMPLES:
        files.append(File.generated(config, f"examples/{page.parent.name}.md", abs_src_path=str(page)))
    files.append(File.generated(config, DEPLOY, content=_deployment()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have links that lead out of `docs` lead to the added pages, and those of the added pages into `docs`."""
    del config, files
    boost = next((boost for start, boost in _BOOSTS.items() if page.file.src_uri.startswith(start)), 1.0)
    page.meta["search"] = {"boost": boost}
    up = "../" * page.file.src_uri.count("/")

    def inside(found: re.Match[str]) -> str:
        folder, name = found.groups()
        return f"]({up}{DEPLOY if folder == 'deploy' else f'examples/{name}.md'})"

    return _IN.sub(f"]({up}", _OUT.sub(inside, markdown))


def _deployment() -> str:
    files = sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".md")
    languages = {".yaml": "yaml", ".service": "ini", ".sh": "sh", ".slurm": "sh"}
    blocks = (
        f"## {path.relative_to(ROOT)}\n\n"
        f"```{languages.get(path.suffix, 'text')}\n{path.read_text(encoding='utf-8')}```\n"
        for path in files
    )
    return "\n".join(["# Deployment\n", "Files to begin with, as they lie in the repository.\n", *blocks])
