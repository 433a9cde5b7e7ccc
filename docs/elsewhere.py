"""A hook of MkDocs: pages of the site that lie beside docs/, where the folders that they explain are."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = (
    "manifests/README.md",
    "SECURITY.md",
    "benchmarks/results/distortions-cpu.md",
    "benchmarks/results/pretrain-default-tiny.md",
    "benchmarks/results/pretrain-default-tiny.png",
)


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages, under the paths that they have in the repository."""
    for page in PAGES:
        files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links that leave docs/ for such a page, as they must in the repository, stay within the site."""
    for page in PAGES:
        markdown = markdown.replace(f"](../{page})", f"]({page})")
    return markdown
