"""Pages of the documentation site that are not files below docs/: a hook of mkdocs.

The README and its like are read from where they are; each public module gets a page of the API reference.
"""

from __future__ import annotations

import os
import pathlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Files of the repository, and the pages that they become.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "WORKSPACE.md": "workspace.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "notebooks/README.md": "notebooks.md",
    "third_party/pyronn_layers/README.md": "pyronn_layers.md",
}
# The packages of the API reference, and the folders that hold them.
PACKAGES = {"fedsim_tf": ".", "pyronn_layers": "third_party/pyronn_layers"}
_LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?(\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the API reference to the navigation."""
    config.nav = [*(config.nav or []), {"API": [_menu(package) for package in PACKAGES]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file below docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for package in PACKAGES:
        for module in modules(package):
            files.append(File.generated(config, reference_page(module), content=f"# {module}\n\n::: {module}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links at the site's pages: in the files they are paths within the repository."""
    uri = page.file.src_uri
    source = {page: file for file, page in PAGES.items()}.get(uri, f"docs/{uri}")
    return _LINK.sub(lambda link: link[1] + _target(link[2], source, uri) + (link[3] or "") + link[4], markdown)


def modules(package: str) -> Iterator[str]:
    """Yield the dotted name of each public module of a package, the package itself first."""
    folder = ROOT / PACKAGES[package]
    for path in sorted(folder.joinpath(package).rglob("*.py"), key=_dotted_parts):
        names = _dotted_parts(path.relative_to(folder))
        if not any(name.startswith("_") for name in names):
            yield ".".join(names)


def reference_page(module: str) -> str:
    """Return the page of a module in the API reference."""
    return f"api/{module.replace('.', '/')}/index.md"


def _dotted_parts(path: pathlib.Path) -> tuple[str, ...]:
    names = path.with_suffix("").parts
    return names[:-1] if names[-1] == "__init__" else names


def _menu(package: str) -> dict[str, Any]:
    return {package: _entries(list(modules(package)), package)}


def _entries(found: Iterable[str], parent: str) -> list[Any]:
    """Return the navigation below one package: its own page, then its modules and packages."""
    entries: list[Any] = [reference_page(parent)]
    children = [name for name in found if name.rpartition(".")[0] == parent]
    for child in children:
        name = child.rpartition(".")[2]
        below = any(other.startswith(f"{child}.") for other in found)
        entries.append({name: _entries(found, child) if below else reference_page(child)})
    return entries


def _target(link: str, source: str, page: str) -> str:
    """Return where a link of a file in the repository leads on the site; others stay as they are."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
    target = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return link if target is None else os.path.relpath(target, posixpath.dirname(page) or ".")
