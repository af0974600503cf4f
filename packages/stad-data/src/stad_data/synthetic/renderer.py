"""Draw a scene: textured bodies over moving scenery, behind moving things, through a camera.

Everything random is drawn once per video; a frame is then a pure function of its index.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic import textures
from stad_data.synthetic.body import LIMB_COVERS, LIMB_FROM, LIMB_TO
from stad_data.synthetic.scene import Actor, Scene, smooth_noise
from stad_data.synthetic.textures import Image

LENGTH, ACROSS = 16, 12
_SKINS = ((236, 188, 150), (215, 160, 118), (180, 120, 82), (130, 85, 56), (92, 58, 40))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """A wrapping texture that scrolls, shown between two rows."""

    texture: Image  # one pixel wider and higher than what wraps, plus a frame
    offset: NDArray[np.float64]  # [T,2]
    period: tuple[int, int]  # (height, width) that wraps

    def show(self, frame: int, rows: tuple[int, int], width: int) -> Image:
        """The part between two rows, at a precision below a pixel."""
        x = float(self.offset[frame, 0]) % self.period[1]
        y = float(self.offset[frame, 1] + rows[0]) % self.period[0]
        left, top = int(x), int(y)
        right_part, low_part = np.float32(x - left), np.float32(y - top)
        height = rows[1] - rows[0]
        part = self.texture[top : top + height + 1, left : left + width + 1]
        part = _blend(part[:, :-1], part[:, 1:], right_part)
        return _blend(part[:-1], part[1:], low_part)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Thing:
    """A textured rectangle or blob that moves through the picture."""

    texture: Image
    centre: NDArray[np.float64]  # [T,2]
    round: bool


class Renderer:
    """The pictures of one scene.

    Args:
        scene: What happens.
        rng: Where textures, lights and things come from; the scene's truth does not depend on it.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene = scene
        width, height = scene.size
        self._scale = height / 120
        self._seconds = np.arange(scene.num_frames) / scene.fps
        self._x = np.arange(width, dtype=np.float32) + 0.5
        self._y = (np.arange(height, dtype=np.float32) + 0.5)[:, None]
        self._far = self._layer(rng, float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.0, 7.0)))
        self._floor = self._layer(rng, 1.0, 0.0)
        self._horizon = float(rng.uniform(0.55, 0.8)) * height
        self._blobs = [self._thing(rng, blob=True) for _ in range(int(rng.integers(1, 4)))]
        self._occluders = self._make_occluders(rng)
        self._covers = [self._dress(rng) for _ in scene.actors]
        self._order = sorted(range(len(scene.actors)), key=lambda n: scene.actors[n].ground)
        light = 1.0 + 0.09 * smooth_noise(rng, self._seconds, (0.03, 0.3))
        tint = 1.0 + 0.04 * rng.standard_normal((1, 3))
        self._light = (np.clip(light, 0.7, 1.25)[:, None] * tint).astype(np.float32)
        self._noise = rng.standard_normal((height + 32, width + 32, 3), dtype=np.float32)
        self._noise *= np.float32(rng.uniform(2.0, 6.0))
        self._noise_at = rng.integers(0, 32, (scene.num_frames, 2))

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, uint8 [H,W,3] RGB."""
        width, height = self.scene.size
        horizon = int(np.clip(self._horizon + self.scene.camera[index, 1], 0, height))
        canvas = np.empty((height, width, 3), np.float32)
        canvas[:horizon] = self._far.show(index, (0, horizon), width)
        canvas[horizon:] = self._floor.show(index, (horizon, height), width)
        for blob in self._blobs:
            self._paste(canvas, blob, index)
        for actor in self._order:
            self._draw(canvas, self.scene.actors[actor], self._covers[actor], index)
        for thing in self._occluders:
            self._paste(canvas, thing, index)
        down, right = self._noise_at[index]
        canvas *= self._light[index]
        canvas += self._noise[down : down + height, right : right + width]
        np.clip(canvas, 0.0, 255.0, out=canvas)
        return canvas.astype(np.uint8)

    def mask(self, actor: int, index: int) -> NDArray[np.uint8]:
        """One actor's body, uint8 [H,W] in {0,1}, also where something stands before it."""
        width, height = self.scene.size
        mask = np.zeros((height, width), np.uint8)

        def mark(rows: slice, columns: slice, cover: NDArray[np.float32], _: object) -> None:
            mask[rows, columns] |= cover > 0.5

        self._limbs(self.scene.actors[actor], index, mark)
        return mask

    def index_mask(self, index: int) -> NDArray[np.uint8]:
        """What is seen of each actor: uint8 [H,W], 0 no actor, n + 1 actor n.

        Nearer actors hide others, as do things that stand or pass before them.
        """
        mask = np.zeros(self.scene.size[::-1], np.uint8)
        for actor in self._order:
            mask[self.mask(actor, index) > 0] = actor + 1
        for thing in self._occluders:
            place = self._place(thing, index)
            if place is not None:
                mask[place[0], place[1]] = 0
        return mask

    def _layer(self, rng: np.random.Generator, parallax: float, speed: float) -> _Layer:
        """Scenery that moves with the camera as far as `parallax` says, and by itself."""
        width, height = self.scene.size
        texture = textures.scenery(rng, height, 2 * width, self._scale)
        texture = np.concatenate([texture, texture[: height + 1]], axis=0)
        texture = np.concatenate([texture, texture[:, : width + 1]], axis=1)
        angle = float(rng.uniform(0.0, 2 * np.pi))
        velocity = speed * self._scale * np.array([np.cos(angle), 0.3 * np.sin(angle)])
        offset = -parallax * self.scene.camera + self._seconds[:, None] * velocity
        offset = offset + rng.uniform(0.0, [2 * width, height])
        return _Layer(texture=texture, offset=offset, period=(height, 2 * width))

    def _thing(self, rng: np.random.Generator, *, blob: bool) -> _Thing:
        """A distractor that crosses behind the actors, or a box that passes in front."""
        width, height = self.scene.size
        low, high = (8.0, 24.0) if blob else (9.0, 20.0)
        sides = (rng.uniform(low, high, 2) * self._scale).astype(np.int64) + 2
        texture = textures.scenery(rng, int(sides[0]), int(sides[1]), 0.4 * self._scale)
        start = rng.uniform(0.0, [width, height])
        speed = rng.uniform(8.0, 30.0, 2) * self._scale * rng.choice((-1.0, 1.0), 2)
        speed[1] *= 0.25
        path = start + self._seconds[:, None] * speed
        # Leaves on one side and comes back on the other.
        room = np.array([width + 3.0 * high * self._scale, height + 2.0 * high * self._scale])
        path = np.mod(path, room) - high * self._scale
        return _Thing(texture=texture, centre=path + self.scene.camera, round=blob)

    def _make_occluders(self, rng: np.random.Generator) -> list[_Thing]:
        """Often nothing; else a pillar that stands, a box that passes, or both."""
        width, height = self.scene.size
        things: list[_Thing] = []
        if rng.random() < 0.35:
            broad = int(rng.uniform(4.0, 10.0) * self._scale) + 2
            texture = textures.scenery(rng, 2 * height, broad, 0.5 * self._scale)
            x = float(rng.uniform(0.1, 0.9)) * width
            centre = np.array([x, height / 2]) + 1.15 * self.scene.camera
            things.append(_Thing(texture=texture, centre=centre, round=False))
        if rng.random() < 0.35:
            things.append(self._thing(rng, blob=False))
        return things

    def _dress(self, rng: np.random.Generator) -> dict[str, Image]:
        """Skin, hair and clothes of one actor."""
        tone = np.array(_SKINS[int(rng.integers(len(_SKINS)))], np.float32)
        tone = tone * np.float32(rng.uniform(0.9, 1.08))
        shirt = textures.colour(rng, 30.0, 225.0, 110.0)
        trousers = textures.colour(rng, 15.0, 190.0, 70.0)
        sleeve = np.clip(shirt * np.float32(rng.choice((0.55, 0.7, 1.35))), 0, 250)
        bare = textures.skin(rng, LENGTH, ACROSS, tone)
        return {
            "shirt": textures.cloth(rng, 2 * LENGTH, 2 * ACROSS, shirt),
            "trousers": textures.cloth(rng, LENGTH, ACROSS, trousers),
            "head": textures.head(rng, LENGTH, ACROSS, tone),
            "sleeve": textures.cloth(rng, LENGTH, ACROSS, sleeve),
            "forearm": bare if rng.random() < 0.6 else textures.cloth(rng, LENGTH, ACROSS, sleeve),
        }

    def _draw(self, canvas: Image, actor: Actor, covers: dict[str, Image], index: int) -> None:
        def paint(rows: slice, columns: slice, cover: Image, at: tuple[str, Image, Image]) -> None:
            name, along, across = at
            texture = covers[name]
            length, width = texture.shape[:2]
            flat = texture.reshape(-1, 3)
            place = (along * (length - 0.01)).astype(np.int32) * width
            place += (across * (width - 0.01)).astype(np.int32)
            region = canvas[rows, columns]
            region += cover[..., None] * (flat[place] - region)

        self._limbs(actor, index, paint)

    def _limbs(
        self,
        actor: Actor,
        index: int,
        put: Callable[[slice, slice, Image, tuple[str, Image, Image]], None],
    ) -> None:
        """Hand every limb to `put`: where, how much of each pixel, and texture coordinates 0..1."""
        width, height = self.scene.size
        starts = actor.joints[index, LIMB_FROM]
        ends = actor.joints[index, LIMB_TO]
        radii = actor.radii[index]
        reach = radii + 0.5
        lows = np.floor(np.minimum(starts - reach[:, :1], ends - reach[:, 1:])).astype(np.int64)
        highs = np.ceil(np.maximum(starts + reach[:, :1], ends + reach[:, 1:])).astype(np.int64)
        lows = np.maximum(lows, 0)
        highs = np.minimum(highs, (width, height))
        spans = ends - starts
        lengths = np.maximum(np.hypot(spans[:, 0], spans[:, 1]), 1e-3)
        units = spans / lengths[:, None]
        # Plain floats: numpy scalars would widen the float32 grids and cost time in small steps.
        table = np.concatenate([starts, units, lengths[:, None], radii], axis=1).tolist()
        corners = np.concatenate([lows, highs], axis=1).tolist()
        for name, (left, top, right, bottom), row in zip(LIMB_COVERS, corners, table, strict=True):
            if left >= right or top >= bottom:
                continue
            x0, y0, along_x, along_y, length, first, last = row
            x = self._x[left:right] - x0
            y = self._y[top:bottom] - y0
            along = x * (along_x / length) + y * (along_y / length)
            side = x * along_y - y * along_x
            nearest = along.clip(0.0, 1.0)
            beyond = (along - nearest) * length
            radius = nearest * (last - first) + first
            cover = (radius + 0.5 - np.sqrt(side * side + beyond * beyond)).clip(0.0, 1.0)
            across = (side / radius * 0.5 + 0.5).clip(0.0, 1.0)
            put(slice(top, bottom), slice(left, right), cover, (name, nearest, across))

    def _paste(self, canvas: Image, thing: _Thing, index: int) -> None:
        """Put a thing's texture where it is, to the nearest pixel."""
        place = self._place(thing, index)
        if place is None:
            return
        rows, columns, left, top = place
        height, width = thing.texture.shape[:2]
        x, right, y, bottom = columns.start, columns.stop, rows.start, rows.stop
        part = thing.texture[y - top : bottom - top, x - left : right - left]
        if not thing.round:
            canvas[rows, columns] = part
            return
        across = ((np.arange(x, right) - left + 0.5) / width * 2 - 1) ** 2
        down = ((np.arange(y, bottom) - top + 0.5) / height * 2 - 1) ** 2
        inside = (across + down[:, None] < 1.0)[..., None]
        np.copyto(canvas[rows, columns], part, where=inside)

    def _place(self, thing: _Thing, index: int) -> tuple[slice, slice, int, int] | None:
        """Rows and columns of the picture that a thing's rectangle covers, and its left and top.

        None where it is outside.
        """
        across, down = self.scene.size
        height, width = thing.texture.shape[:2]
        left = round(float(thing.centre[index, 0])) - width // 2
        top = round(float(thing.centre[index, 1])) - height // 2
        right, bottom = min(left + width, across), min(top + height, down)
        x, y = max(left, 0), max(top, 0)
        if x >= right or y >= bottom:
            return None
        return slice(y, bottom), slice(x, right), left, top


def _blend(one: Image, other: Image, part: np.float32) -> Image:
    """So much of the other, the rest of the one."""
    out = other - one
    out *= part
    out += one
    return out
