"""Render docs/gallery.webp, every distortion at every level of one photo: `python docs/gallery.py`."""

from pathlib import Path

import skimage.data
from PIL import Image, ImageDraw, ImageFont

from glint_label.distortions import DISTORTIONS, distort, prepare

CROP = (slice(60, 180), slice(150, 310))  # of the distorted photo, shown pixel by pixel
LABEL = 16  # pixels above each tile
SEED = 1


def main() -> None:
    """Draw the tiles and their labels."""
    photo = skimage.data.astronaut()[:384].copy()  # public domain, NASA
    prepared = prepare(photo)
    height, width = photo[CROP].shape[:2]
    page = Image.new("RGB", (5 * width, len(DISTORTIONS) * (height + LABEL)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=11)
    for row, distortion in enumerate(DISTORTIONS.values()):
        for column, amount in enumerate(distortion.amounts):
            tile = distort(prepared, distortion, column + 1, SEED)
            place = (column * width, row * (height + LABEL))
            text = f"{distortion.number} {distortion.name} {amount:g}" if column == 0 else f"{amount:g}"
            draw.text((place[0] + 3, place[1] + 1), text, fill="black", font=font)
            page.paste(Image.fromarray(tile[CROP]), (place[0], place[1] + LABEL))
    page.save(Path(__file__).with_name("gallery.webp"), quality=80, method=6)


if __name__ == "__main__":
    main()
