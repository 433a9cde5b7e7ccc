"""Distortions of place: jitter, misplaced patches, pixels and blocks (KADID-10k types 19, 20, 21, 23)."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from glint_label.distortions.prepared import Prepared
from glint_label.distortions.random import Stream, normal, uniform
from glint_label.distortions.warp import warp

_PATCH = 16  # side of a misplaced patch, pixels
_BLOCK = 32  # side of a colour block, pixels
_WARPS = 5


def jitter(images: Prepared, amount: float, noise: Iterable[Tensor]) -> Tensor:
    """Move every pixel at random, by `amount` pixels (standard deviation), once for each field of `noise`.

    Args:
        images: The images.
        amount: Pixels.
        noise: (B, 2, H, W) standard normal fields: down and right.
    """
    moved = images.rgb
    for field in noise:
        moved = warp(moved, field * amount)
    return moved


def jitter_fields(seeds: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Iterator[Tensor]:
    """Draw the fields of five warps, each when it is needed."""
    for number in range(_WARPS):
        yield normal(seeds, Stream.FIELD, (2, *size), dtype, part=number)


def non_eccentricity_patch(images: Prepared, _count: float, source: Tensor, target: Tensor) -> Tensor:
    """Copy patches of 16 x 16 pixels to places nearby, one after the other.

    Args:
        images: The images.
        _count: Number of patches (already in `source`).
        source: (B, count, 2) top row and left column of each patch.
        target: (B, count, 2) where it goes.
    """
    height, width = images.size
    moved = []
    for image, froms, tos in zip(images.rgb, source.tolist(), target.tolist(), strict=True):
        origin = torch.arange(height * width).view(height, width)
        for (top, left), (to_top, to_left) in zip(froms, tos, strict=True):
            patch = origin[top : top + _PATCH, left : left + _PATCH].clone()
            origin[to_top : to_top + _PATCH, to_left : to_left + _PATCH] = patch
        moved.append(_take(image, origin))
    return torch.stack(moved)


def draw_patches(seeds: Tensor, count: float, size: tuple[int, int]) -> dict[str, Tensor]:
    """Draw where the patches come from and go to."""
    return patch_places(uniform(seeds, Stream.PATCHES, (int(count), 4)), size)


def patch_places(draws: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Turn (B, count, 4) uniform numbers, in the order x, y, new x, new y, into rows and columns."""
    # The original counts pixels from 1.
    room = torch.tensor([size[1] - 3 * _PATCH, size[0] - 3 * _PATCH], device=draws.device)
    source = (draws[..., :2] * room + 0.5).floor() + _PATCH
    target = ((draws[..., 2:] - 0.5) * _PATCH + source + 0.5).floor()
    return {"source": source.flip(-1).long() - 1, "target": target.flip(-1).long() - 1}


def pixelate(images: Prepared, strength: float) -> Tensor:
    """Shrink to 0.95 - strength^0.6 of the size and enlarge again, by nearest neighbours."""
    scale = 0.95 - strength**0.6
    rows, columns = (_pixelated(length, scale) for length in images.size)
    return _take(images.rgb, rows[:, None] * images.size[1] + columns)


def _take(planes: Tensor, places: Tensor) -> Tensor:
    """Copy each pixel of (..., H, W) planes from the place, row * W + column, that (H, W) `places` names."""
    flat = planes.flatten(-2)
    return flat.gather(-1, places.to(planes.device).flatten().expand(flat.shape)).view_as(planes)


def _pixelated(length: int, scale: float) -> Tensor:
    """Return which of `length` pixels each of them shows after shrinking and enlarging."""
    shrunk = math.ceil(scale * length)
    down = _nearest(length, shrunk, scale)
    return down[_nearest(shrunk, length, length / shrunk)]


def _nearest(length: int, new_length: int, scale: float) -> Tensor:
    """Return which of `length` inputs each of `new_length` outputs copies."""
    outputs = torch.arange(1, new_length + 1, dtype=torch.float64)  # counted from 1
    inputs = (outputs / scale + (1 - 1 / scale) / 2 + 0.5).floor().long()
    return inputs.clamp_(1, length) - 1


def color_block(images: Prepared, _count: float, corner: Tensor, color: Tensor) -> Tensor:
    """Cover blocks of 32 x 32 pixels with plain colours.

    Args:
        images: The images.
        _count: Number of blocks (already in `corner`).
        corner: (B, count, 2) top row and left column; -1 hides the block's first row or column.
        color: (B, count, 3) in [0, 1].
    """
    covered = images.rgb.clone()
    color = color.to(covered)
    for image, corners, colors in zip(covered, corner.tolist(), color, strict=True):
        for (top, left), fill in zip(corners, colors, strict=True):
            image[:, max(top, 0) : top + _BLOCK, max(left, 0) : left + _BLOCK] = fill[:, None, None]
    return covered


def draw_blocks(seeds: Tensor, count: float, size: tuple[int, int]) -> dict[str, Tensor]:
    """Draw the blocks' colours and places."""
    return block_places(uniform(seeds, Stream.BLOCKS, (int(count), 5)), size)


def block_places(draws: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Turn (B, count, 5) uniform numbers, in the order R, G, B, x, y, into colours, rows and columns."""
    room = torch.tensor([size[1] - _BLOCK, size[0] - _BLOCK], device=draws.device)
    corner = (draws[..., 3:] * room + 0.5).floor().long() - 1  # the original counts pixels from 1
    return {"corner": corner.flip(-1), "color": draws[..., :3]}
