"""Imports point one way: cli -> glint_model -> glint_label."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"cli": "glint_cli", "glint_model": "glint_model", "glint_label": "glint_label"}
FORBIDDEN = {
    "glint_label": {"glint_cli", "glint_model", "click", "tqdm", "lightning_fabric"},
    "glint_model": {"glint_cli", "click"},
    "cli": set(),
}
FILES = [path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))]
# Of glint_label, the trainer may know these and nothing else.
OPEN_TO_THE_MODEL = {"manifest", "images", "distortions", "sources", "errors", "files", "engines", "progress"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path):
    package = path.relative_to(ROOT).parts[0]
    modules = imported(path)
    assert not {module.split(".")[0] for module in modules} & FORBIDDEN[package]
    if package == "glint_model":
        of_label = {module.split(".")[1] for module in modules if module.startswith("glint_label.")}
        assert of_label <= OPEN_TO_THE_MODEL


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_images_are_opened_in_one_place(path: Path):
    text = path.read_text(encoding="utf-8")
    # The codecs of the distortions decode what they have just encoded, never a file.
    if path.relative_to(ROOT).as_posix() not in ("glint_label/images.py", "glint_label/distortions/compression.py"):
        assert "Image.open(" not in text
        assert "imread(" not in text
