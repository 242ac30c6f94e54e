"""Draw a bird before a cluttered background, with its mask. The pictures of the embedded data set.

A class (`Species`) shows most strongly on the head: colours of crown, face and throat, and a mark. Body and wing only lean
towards the class, and vary more within it than between classes. Nothing else depends on the class.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

Colour = tuple[int, int, int]
Point = tuple[float, float]
SUPERSAMPLING = 2  # drawn at twice the size, then averaged down: smooth edges


@dataclass(frozen=True)
class Species:
    """What a class looks like.

    Attributes:
        name: of the class.
        crown, face, throat: RGB colours of the head, strong cues.
        mark: "cap", "stripe" (through the eye), "mask" (around the eye), "crest" or "plain".
        body, wing: RGB colours that this class leans towards, weak cues.
    """

    name: str
    crown: Colour
    face: Colour
    throat: Colour
    mark: str
    body: Colour
    wing: Colour


SPECIES = (
    Species("Red_capped_Wren", (206, 38, 34), (228, 214, 196), (236, 226, 208), "cap", (168, 148, 124), (120, 98, 78)),
    Species(
        "Blue_masked_Tit", (238, 214, 72), (36, 84, 196), (238, 226, 120), "mask", (160, 160, 122), (104, 112, 112)
    ),
    Species("Golden_Crest", (246, 176, 24), (222, 148, 32), (206, 128, 40), "crest", (170, 146, 112), (124, 104, 74)),
    Species("Black_hooded_Finch", (26, 26, 32), (30, 30, 36), (38, 36, 40), "plain", (158, 140, 126), (98, 96, 98)),
    Species(
        "White_browed_Thrush", (112, 70, 42), (122, 78, 48), (240, 236, 228), "stripe", (164, 138, 110), (116, 92, 70)
    ),
    Species("Green_Sunbird", (26, 142, 84), (38, 158, 98), (18, 112, 92), "plain", (146, 156, 120), (92, 108, 86)),
    Species(
        "Violet_crested_Jay", (118, 52, 166), (142, 84, 186), (216, 200, 226), "crest", (152, 144, 146), (102, 94, 116)
    ),
    Species(
        "Rose_faced_Sparrow", (150, 140, 132), (226, 92, 128), (236, 126, 150), "mask", (168, 146, 136), (116, 98, 92)
    ),
)
PLUMAGE = np.array(
    [(176, 150, 116), (140, 126, 112), (196, 186, 168), (120, 104, 84), (150, 152, 130), (170, 130, 100)]
)


def draw_bird(
    species: Species, rng: np.random.Generator, size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "Y X 3"], Bool[np.ndarray, "Y X"]]:
    """Return an RGB picture and the mask of its bird, legs and tail included.

    Args:
        species: the class.
        rng: the only source of chance: pose, size, place, plumage, background.
        size: width and height in pixels.
    """
    width, height = (side * SUPERSAMPLING for side in size)
    canvas = _background(rng, width, height)
    _clutter(canvas, rng, count=int(rng.integers(8, 22)))
    mask = np.zeros((height, width), np.uint8)
    _Bird(species, rng, canvas, mask).draw()
    if rng.random() < 0.35:
        _clutter(canvas, rng, count=int(rng.integers(1, 4)), scale=0.6)
    canvas = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127
    noise = rng.normal(0, rng.uniform(1, 5), canvas.shape)
    light = rng.uniform(0.75, 1.15)
    return np.clip(canvas * light + noise, 0, 255).astype(np.uint8), mask


# --- the bird -----------------------------------------------------------------------------------------------------


class _Bird:
    """One bird in its own frame: the body's centre is (0, 0), its half length 1, it looks to the right (+x), y is down."""

    def __init__(self, species: Species, rng: np.random.Generator, canvas: np.ndarray, mask: np.ndarray) -> None:
        self.rng, self.canvas, self.mask, self.species = rng, canvas, mask, species
        height, width = mask.shape
        self.flying = rng.random() < 0.25
        self.scale = min(height, width) * rng.uniform(0.17, 0.29)
        self.tilt = np.deg2rad(rng.uniform(-25, 10) if self.flying else rng.uniform(-55, 5))
        self.side = rng.choice([-1.0, 1.0])
        self.slim = rng.uniform(0.46, 0.64)
        self.tail = rng.uniform(0.6, 1.5)
        # anywhere: where birds stand in the middle, the best centred box scores as high as localization
        # (on CUB-200-2011 it scores 59.7 %)
        reach = 1.35 * self.scale
        self.centre = tuple(rng.uniform(min(reach, side / 2), max(side - reach, side / 2)) for side in (width, height))
        self.body = self._plumage(species.body)
        self.wing = self._plumage(species.wing)

    def draw(self) -> None:
        rng = self.rng
        if self.flying:
            self._raised_wing(far=True)
        else:
            self._legs()
        self._tail()
        neck = np.deg2rad(rng.uniform(-50, -20))
        self.head = (0.86 * np.cos(neck) + 0.12, 0.86 * np.sin(neck) * self.slim * 1.35)
        self.head_radius = rng.uniform(0.33, 0.40)
        self._body()
        if self.flying:
            self._raised_wing(far=False)
        else:
            self._folded_wing()
        self._beak()
        self._head()

    def _plumage(self, lean: Colour) -> np.ndarray:
        """Return a body colour: mostly chance, a little the class."""
        base = 0.65 * self.rng.choice(PLUMAGE) + 0.35 * np.array(lean)
        return np.clip(base * self.rng.uniform(0.75, 1.2) + self.rng.normal(0, 10, 3), 15, 240)

    def _to_canvas(self, points: list[Point] | np.ndarray) -> np.ndarray:
        p = np.asarray(points, float) * self.scale
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        turned = np.stack([p[:, 0] * c - p[:, 1] * s, p[:, 0] * s + p[:, 1] * c], 1)
        turned[:, 0] *= self.side
        return turned + self.centre

    def _fill(self, points: list[Point] | np.ndarray, colour: np.ndarray | Colour) -> None:
        corners = np.round(self._to_canvas(points) * 16).astype(np.int32)
        cv2.fillPoly(self.canvas, [corners], tuple(float(c) for c in colour), cv2.LINE_AA, shift=4)
        cv2.fillPoly(self.mask, [corners], 255, cv2.LINE_8, shift=4)

    def _stroke(self, points: list[Point] | np.ndarray, colour: np.ndarray | Colour, width: float) -> None:
        corners = np.round(self._to_canvas(points) * 16).astype(np.int32)
        thick = max(1, round(width * self.scale))
        cv2.polylines(self.canvas, [corners], False, tuple(float(c) for c in colour), thick, cv2.LINE_AA, shift=4)
        cv2.polylines(self.mask, [corners], False, 255, thick, cv2.LINE_8, shift=4)

    def _body(self) -> None:
        back = np.array([1.0, self.slim])
        for shade, shrink, drop in ((0.82, 1.0, 0.0), (1.0, 0.9, 0.03), (1.14, 0.66, 0.14)):
            outline = _ellipse((0, drop * self.slim), back * shrink)
            self._fill(outline, np.clip(self.body * shade, 0, 255))
        x, y = self.head
        self._fill(_hull([(x, y, self.head_radius * 0.92), (0.45, 0.0, self.slim * 0.86)]), self.body)
        for _ in range(14):  # breast feathers
            at = (self.rng.uniform(-0.2, 0.8), self.rng.uniform(0.0, 0.7) * self.slim)
            if (at[0] ** 2 + (at[1] / self.slim) ** 2) < 0.8:
                self._stroke([at, (at[0] - 0.09, at[1] + 0.03)], self.body * self.rng.uniform(0.7, 1.1), 0.03)

    def _folded_wing(self) -> None:
        outline = [(0.45, -0.25), (0.2, 0.18), (-0.5, 0.25), (-1.25, 0.12), (-0.7, -0.22), (0.0, -0.38)]
        self._fill(_smooth([(x, y * self.slim * 2) for x, y in outline]), self.wing)
        for k in range(4):
            start, end = (0.2 - 0.22 * k, -0.02), (-0.55 - 0.17 * k, 0.17)
            line = [(start[0], start[1] * 2 * self.slim), (end[0], end[1] * 2 * self.slim)]
            self._stroke(line, self.wing * (0.66 if k % 2 else 1.25), 0.045)

    def _raised_wing(self, far: bool) -> None:
        lift = self.rng.uniform(0.9, 1.5)
        back = -0.35 if far else 0.0
        outline = [(0.35 + back, -0.1), (0.1 + back, -0.9 * lift), (-0.45 + back, -1.25 * lift),
                   (-0.75 + back, -0.8 * lift), (-0.55 + back, 0.0)]  # fmt: skip
        self._fill(_smooth(outline), self.wing * (0.75 if far else 1.0))
        for k in range(5):
            tip = (-0.55 + back + 0.12 * k, -(1.05 - 0.05 * k) * lift)
            self._stroke([(-0.1 + back, -0.2), tip], self.wing * (0.6 if k % 2 else 0.82), 0.035)

    def _tail(self) -> None:
        droop, spread = self.rng.uniform(-0.1, 0.35), self.rng.uniform(0.1, 0.28)
        end = -0.8 - self.tail
        fan = [(-0.7, -0.16), (end, droop - spread), (end - 0.08, droop), (end, droop + spread), (-0.7, 0.2)]
        self._fill(fan, self.wing * 0.85)
        self._stroke([(-0.8, 0.0), (end, droop)], self.wing * 0.6, 0.03)

    def _legs(self) -> None:
        colour = (74, 56, 44)
        length = self.rng.uniform(0.3, 0.5)
        for x in (-0.05, 0.22):
            foot = (x + 0.08 - length * np.sin(self.tilt) * 0.6, self.slim * 0.9 + length)
            self._stroke([(x, self.slim * 0.8), foot], colour, 0.05)
            self._stroke([foot, (foot[0] + 0.16, foot[1] + 0.03)], colour, 0.05)

    def _beak(self) -> None:
        (x, y), r = self.head, self.head_radius
        length = self.rng.uniform(0.25, 0.5)
        colour = np.array(((58, 48, 42), (214, 160, 48), (120, 96, 72))[self.rng.integers(3)])
        self._fill([(x + 0.8 * r, y - 0.32 * r), (x + r + length, y + 0.12), (x + 0.8 * r, y + 0.35 * r)], colour)

    def _head(self) -> None:
        (x, y), r, look = self.head, self.head_radius, self.species
        jitter = self.rng.normal(0, 7, 3)
        crown, face, throat = (np.clip(np.array(c) + jitter, 0, 255) for c in (look.crown, look.face, look.throat))
        if look.mark == "crest":
            self._fill([(x + 0.4 * r, y - 0.8 * r), (x - 0.9 * r, y - 1.75 * r), (x - 0.85 * r, y - 0.3 * r)], crown)
        self._fill(_ellipse((x, y), (r, r)), face)
        self._fill(_arc((x, y), r, 15, 140), throat)
        self._fill(_arc((x, y), r, 190, 350), crown)
        eye = (x + 0.35 * r, y - 0.12 * r)
        if look.mark == "mask":
            self._fill(_ellipse((eye[0] - 0.15 * r, eye[1]), (0.62 * r, 0.36 * r)), face)
        if look.mark == "cap":
            self._fill(_arc((x, y - 0.1 * r), 1.05 * r, 180, 360), crown)
        if look.mark == "stripe":
            self._stroke([(x - 0.85 * r, y - 0.42 * r), (x + 0.8 * r, y - 0.38 * r)], (244, 240, 232), 0.075)
        self._fill(_ellipse(eye, (0.17 * r, 0.17 * r)), (16, 14, 14))
        self._fill(_ellipse((eye[0] + 0.05 * r, eye[1] - 0.05 * r), (0.06 * r, 0.06 * r)), (240, 240, 240))


def _ellipse(centre: Point, radii: np.ndarray | Point, points: int = 40) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], 1)


def _arc(centre: Point, radius: float, start: float, stop: float) -> np.ndarray:
    angle = np.deg2rad(np.linspace(start, stop, 24))
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], 1)


def _hull(circles: list[tuple[float, float, float]]) -> np.ndarray:
    points = np.concatenate([_ellipse((x, y), (r, r)) for x, y, r in circles]).astype(np.float32)
    return cv2.convexHull(points)[:, 0]


def _smooth(corners: list[Point], rounds: int = 3) -> np.ndarray:
    """Cut the corners of a closed polygon (Chaikin)."""
    p = np.asarray(corners, float)
    for _ in range(rounds):
        after = np.roll(p, -1, axis=0)
        p = np.stack([0.75 * p + 0.25 * after, 0.25 * p + 0.75 * after], 1).reshape(-1, 2)
    return p


# --- what is behind it ---------------------------------------------------------------------------------------------

SCENES = (
    ((150, 186, 220), (206, 220, 228)),  # sky
    ((66, 96, 52), (122, 148, 84)),  # leaves
    ((94, 84, 62), (150, 134, 98)),  # dry ground
    ((72, 110, 128), (130, 160, 166)),  # water
    ((112, 140, 78), (184, 190, 132)),  # meadow
)
LEAVES = ((58, 104, 44), (92, 132, 58), (130, 150, 70), (150, 112, 58), (96, 74, 50), (178, 156, 92))
BLOSSOMS = (
    (212, 60, 60),
    (240, 196, 60),
    (222, 120, 160),
    (128, 84, 180),
    (236, 232, 224),
    (60, 96, 190),
    (40, 36, 40),
)


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    low, high = (np.array(c, float) for c in SCENES[rng.integers(len(SCENES))])
    field = np.zeros((height, width))
    for cells, weight in ((2, 1.0), (5, 0.7), (12, 0.45), (30, 0.3)):
        noise = rng.random((cells, cells))
        field += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    field += rng.uniform(-0.8, 0.8) * np.linspace(0, 1, height)[:, None]
    field = (field - field.min()) / (field.max() - field.min())
    canvas = low + field[..., None] * (high - low) + rng.normal(0, 6, 3)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _clutter(canvas: np.ndarray, rng: np.random.Generator, count: int, scale: float = 1.0) -> None:
    """Draw branches, leaves and blossoms; some have the colours and sizes of heads."""
    height, width = canvas.shape[:2]
    unit = min(height, width)
    if scale == 1.0:
        for _ in range(int(rng.integers(1, 5))):
            start, end = rng.uniform(-0.1, 1.1, 2) * (width, height), rng.uniform(-0.1, 1.1, 2) * (width, height)
            middle = (start + end) / 2 + rng.normal(0, 0.12 * unit, 2)
            colour = np.array((88, 66, 48)) * rng.uniform(0.6, 1.5)
            curve = np.round(_bezier(start, middle, end)).astype(np.int32)
            cv2.polylines(
                canvas,
                [curve],
                False,
                tuple(float(c) for c in colour),
                int(unit * rng.uniform(0.012, 0.05)),
                cv2.LINE_AA,
            )
    for _ in range(count):
        at = rng.uniform(0, 1, 2) * (width, height)
        blossom = rng.random() < 0.35
        colour = np.array((BLOSSOMS if blossom else LEAVES)[rng.integers(len(BLOSSOMS if blossom else LEAVES))])
        colour = np.clip(colour * rng.uniform(0.7, 1.2), 0, 255)
        length = unit * rng.uniform(0.02, 0.05 if blossom else 0.11) * scale
        axes = (length, length * (rng.uniform(0.7, 1.0) if blossom else rng.uniform(0.25, 0.55)))
        leaf = _ellipse((0, 0), axes, 24)
        turn = rng.uniform(0, np.pi)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        cv2.fillPoly(
            canvas,
            [np.round((leaf @ rotation.T + at) * 16).astype(np.int32)],
            tuple(float(c) for c in colour),
            cv2.LINE_AA,
            shift=4,
        )
        if not blossom:
            vein = np.round(np.array([[-length, 0], [length, 0]]) @ rotation.T + at).astype(np.int32)
            cv2.line(canvas, vein[0].tolist(), vein[1].tolist(), tuple(float(c) for c in colour * 0.75), 1, cv2.LINE_AA)


def _bezier(start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, 20)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
