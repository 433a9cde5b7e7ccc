"""Linear filters on (B, C, H, W) planes, edges replicated, and the kernels they use.

Sums are shifted additions or Fourier products, never library convolutions: those pick their order of
summation (and, on a GPU, their precision) by batch size and global switches, which must not change a pixel.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.fft import next_fast_len
from torch import Tensor

from glint_label.distortions.bands import bands

Kernel = npt.NDArray[np.float64]
_LONGEST_SUM = 12  # radius from which the Fourier transform is the faster way


def gaussian_kernel(sigma: float, radius: int) -> list[float]:
    """Return a Gaussian sampled at -radius .. radius, of sum 1."""
    weights = [math.exp(-(i * i) / (2 * sigma * sigma)) for i in range(-radius, radius + 1)]
    total = sum(weights)
    return [w / total for w in weights]


def gaussian_filter(planes: Tensor, sigma: float, radius: int | None = None) -> Tensor:
    """Blur each plane with a Gaussian that reaches `radius` pixels to each side, by default ceil(2 sigma)."""
    kernel = gaussian_kernel(sigma, math.ceil(2 * sigma) if radius is None else radius)
    if len(kernel) // 2 >= _LONGEST_SUM:
        return filter_fourier(transform(planes, len(kernel) // 2), np.outer(kernel, kernel))
    filtered = torch.empty_like(planes, memory_format=torch.contiguous_format)
    # On the CPU one by one, which leaves less to fetch from memory.
    parts = ((planes, filtered),) if planes.is_cuda else zip(_one_by_one(planes), _one_by_one(filtered), strict=True)
    for plane, out in parts:
        _filter_axis(_filter_axis(plane, kernel, 3, torch.empty_like(plane)), kernel, 2, out)
    return filtered


def _one_by_one(planes: Tensor) -> Iterator[Tensor]:
    """Yield each plane, (1, 1, H, W)."""
    for i, j in itertools.product(range(planes.shape[0]), range(planes.shape[1])):
        yield planes[i : i + 1, j : j + 1]


def _filter_axis(planes: Tensor, kernel: Sequence[float], axis: int, out: Tensor) -> Tensor:
    """Filter along one axis with a symmetric kernel."""
    radius = len(kernel) // 2
    padded = replicate(planes, radius if axis == 2 else 0, radius if axis == 3 else 0)
    for rows in bands(planes):
        total = torch.mul(planes[:, :, rows], kernel[radius], out=out[:, :, rows])
        pair = torch.empty_like(total)
        for i in range(1, radius + 1):
            before, after = (_moved(padded, axis, rows, planes.shape, radius + j) for j in (-i, i))
            total.add_(torch.add(before, after, out=pair), alpha=kernel[radius + i])
    return out


def _moved(padded: Tensor, axis: int, rows: slice, shape: torch.Size, offset: int) -> Tensor:
    """Return the rows of padded planes that `rows` sees at an offset along an axis."""
    if axis == 2:
        return padded[:, :, rows.start + offset : rows.stop + offset]
    return padded[:, :, rows, offset : offset + shape[3]]


def replicate(planes: Tensor, rows: int, columns: int) -> Tensor:
    """Pad with copies of the edge pixels."""
    return F.pad(planes, (columns, columns, rows, rows), mode="replicate")


def filter_sparse(planes: Tensor, kernel: Kernel) -> Tensor:
    """Filter each plane with a small kernel that is mostly zeros and symmetric about its centre."""
    width = planes.shape[3]
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = replicate(planes, rows, columns)
    filtered = torch.zeros_like(planes)
    for band in bands(planes):
        total = filtered[:, :, band]
        for y, x in np.argwhere(kernel).tolist():
            shifted = padded[:, :, band.start + y : band.stop + y, x : x + width]
            total.add_(shifted, alpha=float(kernel[y, x]))
    return filtered


@dataclass(frozen=True)
class Spectrum:
    """Planes with replicated edges, transformed: what a convolution starts from."""

    values: Tensor  # (B, C, rows, columns / 2 + 1) complex
    size: tuple[int, int]  # of the padded planes
    inside: tuple[int, int]  # of the planes
    margin: int  # above and to the left


def transform(planes: Tensor, margin: int) -> Spectrum:
    """Transform planes for kernels that reach up to `margin` pixels to each side."""
    height, width = planes.shape[2:]
    size = (next_fast_len(height + 2 * margin, real=True), next_fast_len(width + 2 * margin, real=True))
    margins = (margin, size[1] - width - margin, margin, size[0] - height - margin)
    spectra = [_spectrum(F.pad(plane, margins, mode="replicate")[0, 0], size) for plane in _one_by_one(planes)]
    values = torch.stack(spectra).view(*planes.shape[:2], size[0], -1)
    return Spectrum(values, size, (height, width), margin)


def filter_fourier(spectrum: Spectrum, kernel: Kernel) -> Tensor:
    """Convolve planes with a square kernel of odd side that is symmetric about its centre."""
    height, width = spectrum.inside
    start = spectrum.margin + kernel.shape[0] // 2
    values = spectrum.values
    transfer = _spectrum(torch.from_numpy(kernel).to(values.device, values.real.dtype), spectrum.size)
    filtered = torch.empty(*values.shape[:2], height, width, dtype=values.real.dtype, device=values.device)
    for i, j in itertools.product(range(values.shape[0]), range(values.shape[1])):
        rows = torch.fft.ifft(values[i, j] * transfer, dim=0)[start : start + height]
        filtered[i, j] = torch.fft.irfft(rows, n=spectrum.size[1], dim=1)[:, start : start + width]
    return filtered


def _spectrum(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Transform a plane, zeros appended to `size`, so that its last bits depend on nothing else.

    One plane at a time, whatever is in the batch, and one axis at a time: `rfft2` rounds by the number of threads.
    """
    spectrum: Tensor = torch.fft.fft(torch.fft.rfft(plane, n=size[1], dim=1), n=size[0], dim=0)
    return spectrum


@lru_cache(maxsize=16)
def disk_kernel(radius: int) -> Kernel:
    """Return the share of each unit pixel that a disk covers, exactly, of sum 1: (2 radius + 1) squared."""
    edges = np.arange(-radius - 0.5, radius + 1)
    corner = _quarter_area(edges[:, None], edges[None, :], radius)
    area = np.diff(np.diff(corner, axis=0), axis=1)
    kernel: Kernel = area / area.sum()
    return kernel


def _quarter_area(x: Kernel, y: Kernel, radius: int) -> Kernel:
    """Area of the disk within [0, x] x [0, y], with the sign of x y."""
    sign = np.sign(x) * np.sign(y)
    x, y = np.broadcast_arrays(np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius))

    def under_arc(t: Kernel) -> Kernel:
        """Integral of sqrt(r^2 - t^2) from 0 to t."""
        root = np.sqrt(np.maximum(radius**2 - t**2, 0))
        return (t * root + radius**2 * np.arcsin(t / radius)) / 2  # type: ignore[no-any-return]

    bend = np.sqrt(np.maximum(radius**2 - y**2, 0))  # where the arc comes down to the height y
    flat = np.minimum(x, bend)
    area: Kernel = sign * (flat * y + under_arc(x) - under_arc(flat))
    return area


@lru_cache(maxsize=1024)
def motion_kernel(length: int, angle: int) -> Kernel:
    """Return the kernel of a camera moving `length` pixels along a line, of sum 1 (about).

    Weights fall linearly with the distance to the line. Near its ends the distance includes the way beyond
    the end; "near" goes by radius rather than along the line, as in the raters' images.

    Args:
        length: Pixels, at least 1.
        angle: Degrees counter-clockwise, 0..180.
    """
    epsilon = 2.0**-52
    half = (length - 1) / 2
    phi = angle % 180 / 180 * math.pi
    cosine, sine = math.cos(phi), math.sin(phi)
    toward = math.copysign(1, cosine)
    last_x = math.trunc(half * cosine + toward - length * epsilon)
    last_y = math.trunc(half * sine + 1 - length * epsilon)
    x = np.arange(abs(last_x) + 1)[None, :] * toward
    y = np.arange(last_y + 1)[:, None].astype(np.float64)
    distance = y * cosine - x * sine
    beyond = half - np.abs((x + distance * sine) / cosine)
    at_end = (np.sqrt(x**2 + y**2) >= half) & (np.abs(distance) <= 1)
    distance = np.where(at_end, np.sqrt(distance**2 + beyond**2), distance)
    quarter = np.maximum(0, 1 + epsilon - np.abs(distance))

    # quarter[0, 0] is the centre. The other half of the line follows by point symmetry.
    rows, columns = quarter.shape[0] - 1, quarter.shape[1] - 1
    kernel = np.zeros((2 * rows + 1, 2 * columns + 1))
    kernel[: rows + 1, : columns + 1] = quarter[::-1, ::-1]
    kernel[rows:, columns:] = quarter
    kernel /= kernel.sum() + epsilon * length**2
    return kernel[::-1].copy() if cosine > 0 else kernel
