"""The tree: imports point one way, between the packages and among their rooms; README draws what is on the disk."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"cli": "glint_cli", "glint_model": "glint_model", "glint_label": "glint_label"}
FORBIDDEN = {
    "glint_label": {"glint_cli", "glint_model", "click", "tqdm", "lightning_fabric"},
    "glint_model": {"glint_cli", "click"},
    "cli": set(),
}
# From the top down, as in README's tree: no room imports from one above it. Rooms on one line do not know each other.
ROOMS = {
    "glint_label": (
        ("doctor", "demo", "fetch"),
        ("export",),
        ("build",),
        ("report",),
        ("audit",),
        ("verify", "rerender"),
        ("render",),
        ("manifest",),
        ("transfer",),
        ("visibility",),
        ("duplicates",),
        ("embed",),
        ("distortions",),
        ("sources",),
        ("listing",),
        ("images",),
        ("engines",),
        ("efficientnet",),
        ("weights", "download"),
        ("metrics",),
        ("resamples",),
        ("settings", "texts", "timeouts"),
        ("folders",),
        ("files", "containers"),
        ("names",),
        ("storage",),
        ("temporaries",),
        ("provenance", "progress", "errors"),
    ),
    "glint_model": (("evaluation",), ("training",), ("data",), ("datasets",), ("network",)),
}
# Of glint_label, the network may know these and nothing else: what it reads, and the ground floor.
OPEN_TO_THE_MODEL = {
    "report", "manifest", "listing", "images", "distortions", "sources", "engines", "efficientnet", "weights",
    "metrics", "settings", "folders", "files", "storage", "names", "progress", "errors", "timeouts",
}  # fmt: skip
FILES = [path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))]
MOST_LINES = 400


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Name every module that a file imports, wherever in it; `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str, package: str) -> str | None:
    parts = module.split(".")
    known = {room for level in ROOMS[package] for room in level}
    return parts[1] if parts[0] == package and len(parts) > 1 and parts[1] in known else None


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path):
    package = path.relative_to(ROOT).parts[0]
    modules = set(imported(path))
    assert not {module.split(".")[0] for module in modules} & FORBIDDEN[package]
    if package == "glint_model":
        of_label = {module.split(".")[1] for module in modules if module.startswith("glint_label.")}
        assert of_label - {"__version__"} <= OPEN_TO_THE_MODEL
    if package not in ROOMS:
        return
    level = {room: number for number, rooms in enumerate(ROOMS[package]) for room in rooms}
    here = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
    for module in modules:
        room = room_of(module, package)
        if room and here not in ("__init__", room):
            assert level[room] > level[here], f"{here} imports {module}, which is not below it"


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_its_place(package: str):
    known = {room for level in ROOMS[package] for room in level}
    on_disk = {
        path.name.removesuffix(".py")
        for path in (ROOT / package).iterdir()
        if (path.is_dir() and list(path.glob("*.py"))) or (path.suffix == ".py" and path.name != "__init__.py")
    }
    assert on_disk == known


def test_modules_do_not_import_in_circles():
    """Among modules, not only rooms; what is imported inside a function waits until it is called, and counts too."""
    module_of = {}
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        parts = [PACKAGES[package], *path.relative_to(ROOT / package).with_suffix("").parts]
        module_of[".".join(parts).removesuffix(".__init__")] = path
    graph = {}
    for module, path in module_of.items():
        targets = set()
        for name in imported(path):
            target = name if name in module_of else name.rpartition(".")[0]
            if target in module_of and target != module and path.name != "__init__.py":
                targets.add(target)
        graph[module] = targets
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_images_are_opened_in_one_place(path: Path):
    text = path.read_text(encoding="utf-8")
    # The codecs of the distortions decode what they have just encoded, never a file.
    if name_of(path) not in ("glint_label/images.py", "glint_label/distortions/compression.py"):
        assert "Image.open(" not in text
        assert "imread(" not in text


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_weights_are_read_in_one_place_and_never_unpickled(path: Path):
    text = path.read_text(encoding="utf-8")
    for call in re.findall(r"torch\.load\([^)]*\)", text):
        assert name_of(path) == "glint_label/weights.py"
        assert "weights_only=True" in call
    assert "import pickle" not in text


def test_no_file_is_too_long_to_be_read():
    long = {name_of(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_the_readme_draws_the_tree_that_is_on_the_disk():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.partition("## The tree")[2].partition("```")[2].partition("```")[0]
    drawn = {package: set(files_drawn(tree, package)) for package in PACKAGES}
    for package in PACKAGES:
        on_disk = {
            path.relative_to(ROOT / package).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.suffix in (".py", ".j2") and path.name != "__init__.py"
        }
        assert drawn[package] == on_disk, f"README's tree and {package}/ differ"


def files_drawn(tree: str, package: str) -> Iterator[str]:
    """List the files below a package in README's tree: folders end in a slash, files follow indented or beside it."""
    part = re.search(rf"^{package}/ .*?(?=^\S)", tree + "\nend", re.DOTALL | re.MULTILINE)
    assert part, f"README's tree lacks {package}/"
    above: list[tuple[int, str]] = []  # the folders that a line is in, with their indents
    for line in part.group().splitlines()[1:]:
        names = re.match(r" *((?:[\w./]+(?:\.py|\.j2|/)(?:, | |$))+)", line)
        assert names, f"not a line of the tree: {line!r}"
        depth = len(line) - len(line.lstrip())
        above = [one for one in above if one[0] < depth]
        place = "".join(name for _, name in above)
        for name in re.split(r",? +", names.group(1).strip()):
            if name.endswith("/"):
                above.append((depth, name))
            else:
                yield f"{place}{name}"
