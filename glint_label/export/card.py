"""README.md of an export: what it is, how it is loaded, with the header that dataset hubs read."""

import yaml

from glint_label.build.card import fill_card, size_category
from glint_label.export.format import About, Format
from glint_label.manifest import METADATA_COLUMNS


def export_card(form: Format, about: About) -> str:
    """Write the text; the same export gives the same bytes."""
    header = {
        "task_categories": ["other"],
        "tags": ["image-quality-assessment", "synthetic", "pseudo-label"],
        "size_categories": [size_category(about.total)],
        **form.card_header(about),
    }
    return fill_card(
        "glint_label.export",
        header=yaml.safe_dump(header, sort_keys=False).strip(),
        about=about,
        run=about.run,
        audit=about.measured,
        usage=form.usage(about),
        columns={name: meaning for name, (_, _, meaning) in METADATA_COLUMNS.items()} if form.our_columns else {},
        scale_note=form.scale_note,
    )
