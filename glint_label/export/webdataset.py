"""`webdataset`: tar files, the image and the labels of a sample side by side."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from glint_label.export.format import NONE, About, Format, Part, Sample
from glint_label.export.tables import COLUMNS
from glint_label.files import open_atomic


class WebDataset(Format):
    """train-00000.tar, ...: KEY.png and KEY.json; the same bytes whoever writes them."""

    name = "webdataset"
    title = "tar files for WebDataset"
    images = (NONE, "png", "webp")
    files = (r"(train|val)-\d{5,}\.tar",)

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        """Write one tar. No times, owners or permissions of this machine go into it."""
        path = folder / f"{part.name}.tar"
        with open_atomic(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                key = PurePath(sample.row["file_name"])
                if sample.image is not None:
                    _add(tar, key.name, sample.image)
                labels = {name: sample.row[name] for name in COLUMNS}
                _add(tar, f"{key.stem}.json", json.dumps(labels, ensure_ascii=False).encode())
        return [path]

    def usage(self, about: About) -> str:
        """Load it with webdataset."""
        split = next(iter(about.rows))
        last = about.parts[split] - 1
        files = f"{split}-00000.tar" if not last else f"{split}-{{00000..{last:05d}}}.tar"
        fields = '"json"' if about.images == NONE else f'"{about.images}", "json"'
        loop = "for (labels,) in samples" if about.images == NONE else "for image, labels in samples"
        show = 'labels["mos"]' if about.images == NONE else 'image.size, labels["mos"]'
        return (
            "```python\nimport webdataset\n\n"
            f'files = "FOLDER/{files}"\n'
            f'samples = webdataset.WebDataset(files, shardshuffle=False).decode("pil").to_tuple({fields})\n'
            f"{loop}:\n    print({show})\n    break\n```"
        )


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # its time is 0, its owner 0 without a name, its permissions 0644
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
