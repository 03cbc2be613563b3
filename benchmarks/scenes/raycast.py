"""Cast rays into a room of boxes and spheres. World: x to the right, y up, z away; lengths in metres.

R is the number of rays. A hit has a distance along its (unit) ray, a unit normal, and the number of the
solid that was hit: 0 for the room itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EPSILON = 1e-4


@dataclass(frozen=True)
class Solid:
    """A box turned about the vertical, or the largest ball within it.

    centre, half: (3,) metres. turn: radians.
    """

    label: int
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    turn: float = 0.0
    ball: bool = False
    shade: float = 1.0


@dataclass(frozen=True)
class Hits:
    """distances (R,), normals (R, 3), solids (R,) numbers, 0 for the room."""

    distances: Floats
    normals: Floats
    solids: NDArray[np.int64]


def cast(origins: Floats, directions: Floats, room: Floats, solids: tuple[Solid, ...]) -> Hits:
    """origins (R, 3) inside the room, directions (R, 3) of unit length; room: (2, 3), its corners."""
    distances, normals = _leave_room(origins, directions, room)
    found = np.zeros(len(origins), dtype=np.int64)
    for number, solid in enumerate(solids, start=1):
        reached, facing = _meet(origins, directions, solid)
        nearer = reached < distances
        distances = np.where(nearer, reached, distances)
        normals = np.where(nearer[:, None], facing, normals)
        found = np.where(nearer, number, found)
    return Hits(distances, normals, found)


def blocked(
    origins: Floats, directions: Floats, lengths: Floats, solids: tuple[Solid, ...]
) -> NDArray[np.bool_]:
    """Whether any solid lies on the first `lengths` (R,) of the rays."""
    result = np.zeros(len(origins), dtype=bool)
    for solid in solids:
        reached, _ = _meet(origins, directions, solid)
        result |= (reached > EPSILON) & (reached < lengths - EPSILON)
    return result


def _meet(origins: Floats, directions: Floats, solid: Solid) -> tuple[Floats, Floats]:
    turn = _turn(solid.turn)
    local = (origins - np.array(solid.centre)) @ turn.T
    heading = directions @ turn.T
    if solid.ball:
        reached, facing = _enter_ball(local, heading, min(solid.half))
    else:
        reached, facing = _enter_box(local, heading, np.array(solid.half))
    return reached, facing @ turn


def _turn(angle: float) -> Floats:
    """World to the solid's own axes."""
    return np.array(
        [[np.cos(angle), 0.0, -np.sin(angle)], [0.0, 1.0, 0.0], [np.sin(angle), 0.0, np.cos(angle)]]
    )


def _slabs(local: Floats, heading: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    safe = np.where(np.abs(heading) < 1e-9, 1e-9, heading)
    first, second = (low - local) / safe, (high - local) / safe
    return np.minimum(first, second), np.maximum(first, second)


def _leave_room(origins: Floats, directions: Floats, room: Floats) -> tuple[Floats, Floats]:
    _, exits = _slabs(origins, directions, room[0], room[1])
    axis = exits.argmin(axis=1)
    rows = np.arange(len(origins))
    normals = np.zeros_like(origins)
    normals[rows, axis] = -np.sign(directions[rows, axis])
    return exits[rows, axis], normals


def _enter_box(local: Floats, heading: Floats, half: Floats) -> tuple[Floats, Floats]:
    entries, exits = _slabs(local, heading, -half, half)
    axis = entries.argmax(axis=1)
    rows = np.arange(len(local))
    near, far = entries[rows, axis], exits.min(axis=1)
    normals = np.zeros_like(local)
    normals[rows, axis] = -np.sign(heading[rows, axis])
    return np.where((near < far) & (near > EPSILON), near, np.inf), normals


def _enter_ball(local: Floats, heading: Floats, radius: float) -> tuple[Floats, Floats]:
    along = (local * heading).sum(axis=1)
    inside = along**2 - (local**2).sum(axis=1) + radius**2
    near = -along - np.sqrt(np.maximum(inside, 0.0))
    reached = np.where((inside > 0) & (near > EPSILON), near, np.inf)
    points = local + np.where(np.isfinite(reached), reached, 0.0)[:, None] * heading
    return reached, points / radius
