"""What a build's JSON must look like: a manifest may come from anyone, so it is checked once, before it is used."""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from glint_label.errors import StateError
from glint_label.manifest.tables import REPAIR


def check_shape(shape: type[BaseModel], content: object, path: Path) -> dict[str, Any]:
    """Check the content of a JSON file, and return it.

    Raises:
        StateError: Names the file and the first key that is not what it should be.
    """
    try:
        shape.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise StateError(f"{path}: is damaged ({key or 'all of it'}: {first['msg']}); {REPAIR}") from error
    return cast(dict[str, Any], content)


def _is_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


# pydantic's own str takes no paths that are no UTF-8.
Text = Annotated[Any, AfterValidator(_is_text)]
Figure = float | None


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _References(_Shape):
    count: Annotated[int, Field(ge=0, le=10**9)]


class _Embedder(_Shape):
    embedder: Text


class _Config(_Shape):
    source: Text
    transfer: Text
    embedder: _Embedder
    references: _References
    size: Literal["native"] | Annotated[list[Annotated[int, Field(ge=1, le=10**5)]], Field(min_length=2, max_length=2)]
    exclude_anchors: list[Text]


class _Versions(_Shape):
    libraries: dict[str, str | None] = {}
    codecs: dict[str, str | None] = {}


class _Call(_Shape):
    command: Text
    started: Text
    versions: _Versions


class _Licences(_Shape):
    ratings: Text
    ratings_citation: Text
    references: Text


class _Counts(_Shape):
    rows: Annotated[int, Field(ge=0)]


class RunShape(_Shape):
    """run.json of a build; keys that are not here are not read."""

    status: Literal["running", "complete"]
    refs: Text
    source_dir: Text | None
    config: _Config
    config_sha256: Text
    seed: int
    mos_range: Annotated[list[float], Field(min_length=2, max_length=2)]
    anchors: Annotated[int, Field(ge=0, le=10**6)]
    missing_anchors: list[Text]
    ratings_note: Text
    licences: _Licences
    calls: Annotated[list[_Call], Field(min_length=1)]
    counts: _Counts | None = None
    anchor_similarity: dict[str, float] = {}

    @model_validator(mode="after")
    def _agrees(self) -> "RunShape":
        if not self.mos_range[0] < self.mos_range[1]:
            raise ValueError("mos_range must rise")
        if self.status == "complete" and self.counts is None:
            raise ValueError("counts are missing")
        return self


class _Figures(_Shape):
    srocc: Figure = None
    rmse: Figure = None
    coverage90: Figure = None
    mean_error: Figure = None


class _OfDistortion(_Figures):
    distortion: Text


class _Transfer(_Figures):
    transfer: Text
    embedder: Text
    srocc_within: Figure = None
    srocc_low: Figure = None
    srocc_high: Figure = None
    plcc: Figure = None
    rmse_low: Figure = None
    rmse_high: Figure = None
    by_distortion: list[_OfDistortion] = []
    by_similarity: list[dict[str, Figure]] = []


class AuditShape(_Shape):
    """audit.json of a build."""

    anchors: int
    rows: list[_Transfer]
