"""The lower bounds of pyproject.toml are the versions that `make test-lowest` installs."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOR_USERS = ("tensorboard", "onnx", "heif", "export", "streaming", "s3", "gs")


def lowest() -> dict[str, Version]:
    lines = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def test_each_lower_bound_is_the_version_that_is_tested():
    extras = [line for extra in FOR_USERS for line in PROJECT["optional-dependencies"][extra]]
    bounds = {}
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        (bound,) = (part for part in requirement.specifier if part.operator == ">=")
        bounds[canonicalize_name(requirement.name)] = Version(bound.version)
    pins = lowest()
    assert bounds == {name: pins.get(name) for name in bounds}
