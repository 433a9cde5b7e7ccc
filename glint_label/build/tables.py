"""What is written about the whole build: references.csv, label_schema.json and the dataset card."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence

from glint_label.build.card import dataset_card
from glint_label.build.labels import LabelShards
from glint_label.build.plan import Plan
from glint_label.build.stage import Stage
from glint_label.files import sha256_of, write_atomic
from glint_label.manifest import REFERENCES_COLUMNS, ShardCounts, format_csv, read_audit, schema, shard_folder


class WriteTables(Stage):
    """The files beside shards/, which follow from those of the stages before."""

    def __init__(self, plan: Plan, labels: LabelShards) -> None:
        self._plan = plan
        self._labels = labels
        self._contents: dict[str, Callable[[], Iterator[str]]] = {
            "references.csv": self._references,
            "label_schema.json": self._schema,
            "README.md": self._card,
        }

    def missing(self) -> Sequence[str]:
        """Name the files that are missing or not what they should be."""
        return [name for name in self._contents if not self._is_right(name)]

    def make(self, missing: Sequence[str]) -> None:
        """Write them."""
        for name in missing:
            write_atomic(self._plan.config.out / name, self._contents[name]())

    def counts(self) -> dict[str, int]:
        """Add up what the shards hold."""
        found = [counts for shard in self._plan.shards if (counts := self._labels.counts(shard.number)) is not None]
        totals = {name: sum(getattr(one, name) for one in found) for name in ShardCounts.__dataclass_fields__}
        return {**totals, "shards": len(self._plan.shards)}

    def _is_right(self, name: str) -> bool:
        path = self._plan.config.out / name
        if not path.is_file():
            return False
        digest = hashlib.sha256()
        for piece in self._contents[name]():
            digest.update(piece.encode())
        return digest.hexdigest() == sha256_of(path)

    def _references(self) -> Iterator[str]:
        header = format_csv(REFERENCES_COLUMNS, [])
        yield header
        for shard in self._plan.shards:
            path = shard_folder(self._plan.config.out, shard.number) / "references.csv"
            if path.is_file():
                yield path.read_text(encoding="utf-8").removeprefix(header)

    def _schema(self) -> Iterator[str]:
        yield json.dumps(schema(self._plan.source.mos_range, self._plan.config.size), indent=1) + "\n"

    def _card(self) -> Iterator[str]:
        plan = self._plan
        audit = read_audit(plan.config.out)
        yield dataset_card(plan.settings, plan.source, plan.left_out, self.counts(), audit)
