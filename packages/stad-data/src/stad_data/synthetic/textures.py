"""Random textures, float32 RGB in 0..255: noise in octaves, stripes, checks, cloth and skin.

All wrap round in both directions where they are scrolled.
"""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def colour(
    rng: np.random.Generator, low: float = 20.0, high: float = 235.0, chroma: float = 60.0
) -> Image:
    """[3], a random brightness between `low` and `high` with a random tint."""
    tint = rng.uniform(-chroma, chroma, 3)
    return np.clip(rng.uniform(low, high) + tint - tint.mean(), 5.0, 250.0).astype(np.float32)


def noise(rng: np.random.Generator, height: int, width: int, coarse: int, octaves: int) -> Image:
    """[H,W] in 0..1, wrapping: value noise whose coarsest cells are `coarse` pixels."""
    out = np.zeros((height, width), np.float32)
    weight, total = 1.0, 0.0
    for octave in range(octaves):
        cell = max(coarse >> octave, 1)
        rows, columns = max(height // cell, 2), max(width // cell, 2)
        grid = rng.random((rows, columns), dtype=np.float32)
        out += weight * _spread(_spread(grid, height).T, width).T
        total += weight
        weight *= 0.65
        if cell == 1:
            break
    out /= total
    low, high = float(out.min()), float(out.max())
    return (out - low) / max(high - low, 1e-6)


def scenery(rng: np.random.Generator, height: int, width: int, scale: float) -> Image:
    """[H,W,3], wrapping: a wall, a floor or a landscape, with two to three colours."""
    one, other, third = (colour(rng, 30.0, 220.0, 45.0) for _ in range(3))
    other = one + np.float32(rng.uniform(0.35, 0.8)) * (other - one)
    fine = noise(rng, height, width, max(int(28 * scale), 2), 4)
    blend = fine
    kind = rng.choice(("noise", "stripes", "checks", "bricks"), p=(0.4, 0.2, 0.2, 0.2))
    if kind != "noise":
        blend = 0.7 * pattern(rng, str(kind), height, width, scale) + 0.3 * fine
    out = one + blend[..., None] * (other - one)
    patches = np.clip(4.0 * noise(rng, height, width, max(int(40 * scale), 2), 2) - 2.6, 0.0, 1.0)
    out += (0.7 * patches)[..., None] * (third - out)
    grain = noise(rng, height, width, max(int(4 * scale), 2), 2)
    return (out * (0.85 + 0.3 * grain[..., None])).astype(np.float32)


def pattern(rng: np.random.Generator, kind: str, height: int, width: int, scale: float) -> Image:
    """[H,W] in 0..1: stripes, checks or bricks, a whole number of them in either direction."""
    pitch = float(rng.uniform(7.0, 20.0)) * scale
    across = np.arange(width) / width * max(round(width / pitch), 1)
    down = (np.arange(height) / height * max(round(height / pitch), 1))[:, None]
    match kind:
        case "stripes":
            slant = int(rng.integers(-1, 2))
            out = (across + slant * down) % 1.0 < 0.5
        case "checks":
            out = (across.astype(np.int64) + down.astype(np.int64)) % 2 == 0
        case _:
            shifted = across * 0.5 + 0.5 * (down.astype(np.int64) % 2)
            out = (shifted % 1.0 > 0.12) & (down % 1.0 > 0.18)
    return np.broadcast_to(out, (height, width)).astype(np.float32)


def cloth(rng: np.random.Generator, length: int, width: int, base: Image) -> Image:
    """[length, width, 3], along and across a limb: plain, ringed, striped, checked or speckled."""
    second = np.clip(base + rng.choice((-1.0, 1.0)) * rng.uniform(35.0, 95.0, 3), 8.0, 247.0)
    along, across = np.mgrid[0:length, 0:width]
    pitch = int(rng.integers(3, 8))
    kind = rng.choice(("plain", "rings", "stripes", "checks", "speckles"))
    match kind:
        case "plain":
            blend = 0.25 * rng.random((length, width))
        case "rings":
            blend = along // pitch % 2
        case "stripes":
            blend = across // max(pitch // 2, 2) % 2
        case "checks":
            blend = (along // pitch + across // pitch) % 2
        case _:
            blend = noise(rng, length, width, 4, 2) > 0.55
    return rounded(base + np.asarray(blend, np.float64)[..., None] * (second - base))


def skin(rng: np.random.Generator, length: int, width: int, base: Image) -> Image:
    """[length, width, 3], nearly uniform."""
    return rounded(base * (0.94 + 0.12 * rng.random((length, width, 1))))


def head(rng: np.random.Generator, length: int, width: int, base: Image) -> Image:
    """[length, width, 3] from chin to crown: a face without a side, and hair."""
    out = np.broadcast_to(base, (length, width, 3)) * (0.94 + 0.12 * rng.random((length, width, 1)))
    out[round(length * float(rng.uniform(0.5, 0.75))) :] = colour(rng, 10.0, 160.0)
    return rounded(out)


def rounded(texture: NDArray[np.float64]) -> Image:
    """Darken towards the limb's edges, as light from the front does."""
    across = np.linspace(-1.0, 1.0, texture.shape[1])
    return (texture * (1.0 - 0.38 * across**2)[:, None]).astype(np.float32)


def _spread(grid: Image, size: int) -> Image:
    """[size, ...]: the rows of `grid`, which wrap round, with smooth steps between them."""
    at = np.arange(size) * len(grid) / size
    cell = at.astype(np.int64)
    part = (at - cell).astype(np.float32)[:, None]
    out = grid[(cell + 1) % len(grid)] - grid[cell]
    out *= part * part * (3.0 - 2.0 * part)
    out += grid[cell]
    return out
