"""Pictures of a MuJoCo state without OpenGL: capsules, spheres and boxes drawn with NumPy and Pillow.

Height fields and tendons are not drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from saferl_envs.camera import NEAR, Pinhole
from saferl_envs.signals import FloatArray

SKY_TOP, SKY_LOW = np.array([150, 180, 215], np.float32), np.array([228, 236, 245], np.float32)
TILE_LIGHT, TILE_DARK = np.array([206, 212, 204], np.float32), np.array([168, 178, 170], np.float32)
SHADOW = (138, 146, 142)
SUPERSAMPLE = 2
FARTHEST = 1e5
"""Ground farther away than this many metres is sky."""


class _Part(NamedTuple):
    """One geom: points (P, 3) in its own frame, m; radius of the round ends, 0 for the hull of the points; colour."""

    geom: int
    points: FloatArray
    radius: float
    color: tuple[int, int, int]


class StickFigure:
    """Draws the geoms of one model.

    Args:
        model: The model.
        width: Width of the picture, pixels.
        height: Height of the picture, pixels.
        tile: Edge of the ground's tiles, m. They stand still in the world, so that motion is visible.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, tile: float) -> None:
        self._width, self._height, self._tile = width, height, tile
        planes = np.flatnonzero((model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE.value) & (model.geom_bodyid == 0))
        self._plane = int(planes[0]) if planes.size else None
        parts = [_part(model, geom) for geom in range(model.ngeom)]
        self._parts = [part for part in parts if part is not None]
        self._across = np.arange(width, dtype=np.float32) + np.float32(0.5 - 0.5 * width)
        self._up = np.float32(0.5 * height - 0.5) - np.arange(height, dtype=np.float32)
        ramp = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
        sky = (SKY_TOP + ramp * (SKY_LOW - SKY_TOP)).astype(np.uint8)
        self._sky = np.ascontiguousarray(np.broadcast_to(sky, (height, width, 3)))

    def draw(self, data: mujoco.MjData, camera: Pinhole) -> NDArray[np.uint8]:
        """Return the picture (H, W, 3) of a state whose kinematics are done."""
        width, height = self._width * SUPERSAMPLE, self._height * SUPERSAMPLE
        picture = Image.fromarray(self._ground(data, camera)[0]).resize((width, height), Image.Resampling.NEAREST)
        brush = ImageDraw.Draw(picture)
        parts = self._ordered(data, camera)
        for part, points, _ in parts:
            self._shadow(brush, data, camera, points, part.radius)
        for part, points, _ in parts:
            pixels, depth, focal = camera.project(points, height, width)
            radii = part.radius * focal / depth
            _paint(brush, pixels, radii, tuple(channel * 11 // 20 for channel in part.color), SUPERSAMPLE)
            _paint(brush, pixels, radii, part.color, 0)
        return np.asarray(picture.reduce(SUPERSAMPLE))

    def depth(self, data: mujoco.MjData, camera: Pinhole, far: float) -> NDArray[np.float32]:
        """Return distances (H, W) along the view axis, m: one per geom, exact on the ground, `far` in the sky."""
        ground = np.minimum(self._ground(data, camera)[1], far)
        picture = Image.fromarray(ground)
        brush = ImageDraw.Draw(picture)
        for part, points, distance in self._ordered(data, camera):
            pixels, depth, focal = camera.project(points, self._height, self._width)
            _paint(brush, pixels, part.radius * focal / depth, distance, 0)
        return np.asarray(picture, np.float32)

    def _ordered(self, data: mujoco.MjData, camera: Pinhole) -> list[tuple[_Part, FloatArray, float]]:
        """Return the parts before the eye, farthest first, with their points in the world and their distance."""
        found = []
        for part in self._parts:
            points = data.geom_xpos[part.geom] + part.points @ data.geom_xmat[part.geom].reshape(3, 3).T
            depth = camera.project(points, 1, 1)[1]
            if depth.min() > NEAR:
                found.append((part, points, float(depth.mean())))
        return sorted(found, key=lambda item: -item[2])

    def _ground(self, data: mujoco.MjData, camera: Pinhole) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return sky and tiled ground (H, W, 3), and the distance along the view axis (H, W), infinite in the sky."""
        if self._plane is None:
            return self._sky, np.full((self._height, self._width), np.inf, np.float32)
        focal = 0.5 * self._height / np.tan(np.deg2rad(camera.fovy) / 2)
        frame = data.geom_xmat[self._plane].reshape(3, 3)
        # Everything in the frame of the plane; the ray of a pixel is (right, up, forward) and one metre deep.
        turn = (frame.T @ camera.rotation).astype(np.float32)
        eye = (frame.T @ (camera.eye - data.geom_xpos[self._plane])).astype(np.float32)
        across, up = self._across / np.float32(focal), self._up / np.float32(focal)
        x, y, z = ((up * turn[i, 1] - turn[i, 2])[:, None] + across * turn[i, 0] for i in range(3))
        with np.errstate(divide="ignore"):
            depth = -eye[2] / z
        seen = (depth > 0) & (depth < FARTHEST)
        depth[~seen] = np.inf
        distance, x, y, z = depth[seen], x[seen], y[seen], z[seen]
        tiles = [np.floor((eye[i] + ray * distance) / np.float32(self._tile)) for i, ray in enumerate((x, y))]
        dark = ((tiles[0] + tiles[1]).astype(np.int32) & 1) - np.float32(0.5)
        # Tiles smaller than a pixel would flicker, so they fade into their mean; the horizon fades into the sky.
        size = np.float32(self._tile * focal) * np.abs(z) / distance
        contrast = np.clip((size - np.float32(0.5)) / 2, 0, 1) * dark + np.float32(0.5)
        haze = np.exp(distance / np.float32(-40.0 * self._tile))
        contrast *= haze
        picture = self._sky.copy()
        for channel in range(3):
            low, light, dark_tile = SKY_LOW[channel], TILE_LIGHT[channel], TILE_DARK[channel]
            picture[..., channel][seen] = low + haze * (light - low) + contrast * (dark_tile - light)
        return picture, depth

    def _shadow(
        self, brush: ImageDraw.ImageDraw, data: mujoco.MjData, camera: Pinhole, points: FloatArray, radius: float
    ) -> None:
        """Draw the shadow of one part, light from above the plane: it shows how high a foot is."""
        if self._plane is None:
            return
        frame = data.geom_xmat[self._plane].reshape(3, 3)
        if radius:
            angles = np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False)
            circle = radius * (np.cos(angles)[:, None] * frame[:, 0] + np.sin(angles)[:, None] * frame[:, 1])
            points = (points[:, None] + circle).reshape(-1, 3)
        height = (points - data.geom_xpos[self._plane]) @ frame[:, 2]
        flat = points - height[:, None] * frame[:, 2]
        pixels, depth, _ = camera.project(flat, self._height * SUPERSAMPLE, self._width * SUPERSAMPLE)
        above_plane = height.max() > 0 and (camera.eye - data.geom_xpos[self._plane]) @ frame[:, 2] > 0
        if above_plane and depth.min() > NEAR:
            brush.polygon(_hull(pixels), fill=SHADOW)


def _part(model: mujoco.MjModel, geom: int) -> _Part | None:
    """Return how to draw one geom, or None when MuJoCo would not show it or it has no outline."""
    kind, size = mujoco.mjtGeom(model.geom_type[geom]), model.geom_size[geom]
    material = int(model.geom_matid[geom])
    # As in MuJoCo: the geom's own colour counts unless it is the default one and there is a material.
    plain = np.allclose(model.geom_rgba[geom], (0.5, 0.5, 0.5, 1.0))
    rgba = model.mat_rgba[material] if material >= 0 and plain else model.geom_rgba[geom]
    if rgba[3] == 0 or model.geom_group[geom] > 2:
        return None
    red, green, blue = (int(255 * channel) for channel in rgba[:3])
    points: FloatArray
    radius = 0.0
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        points, radius = np.zeros((1, 3)), float(size[0])
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        points, radius = np.array([[0.0, 0.0, -size[1]], [0.0, 0.0, size[1]]]), float(size[0])
    elif kind in (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD):
        return None
    else:
        points = _hull_points(model, geom, kind)
    return _Part(geom, points, radius, (red, green, blue))


def _hull_points(model: mujoco.MjModel, geom: int, kind: mujoco.mjtGeom) -> FloatArray:
    """Return points (P, 3) in the geom's frame, m, whose hull is the outline of a box, cylinder, ellipsoid or mesh."""
    size = model.geom_size[geom]
    corners = np.array(np.meshgrid([-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0])).reshape(3, 8).T
    angles = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(12)], axis=1)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        rim, half = ring * size[0], np.array([0.0, 0.0, size[1]])
        return np.concatenate([rim + half, rim - half])
    sphere = np.concatenate([ring * np.cos(lat) + [0.0, 0.0, np.sin(lat)] for lat in np.linspace(-1.5, 1.5, 7)])
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return np.asarray(sphere * size)
    mesh = int(model.geom_dataid[geom])
    if kind == mujoco.mjtGeom.mjGEOM_MESH and mesh >= 0:
        first = int(model.mesh_vertadr[mesh])
        vertices = model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])]
        # The vertices that lie farthest in some direction outline the mesh well enough.
        return np.asarray(vertices[np.unique(np.argmax(vertices @ sphere.T, axis=0))], np.float64)
    box = model.geom_aabb[geom]
    return np.asarray(box[:3] + corners * box[3:])


def _paint(brush: ImageDraw.ImageDraw, pixels: FloatArray, radii: FloatArray, fill: Any, grow: float) -> None:
    """Fill one part: discs of the radii joined by a band, or the hull of the pixels when the radii are 0."""
    if not np.any(radii):
        outline = _hull(pixels)
        brush.polygon(outline, fill=fill)
        if grow:
            brush.line([*outline, outline[0]], fill=fill, width=int(2 * grow))
        return
    radii = radii + grow
    for (x, y), radius in zip(pixels, radii, strict=True):
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    if len(pixels) == 2:
        along = pixels[1] - pixels[0]
        across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
        sides = [pixels[0] + across * radii[0], pixels[1] + across * radii[1]]
        sides += [pixels[1] - across * radii[1], pixels[0] - across * radii[0]]
        brush.polygon([(float(x), float(y)) for x, y in sides], fill=fill)


def _hull(pixels: FloatArray) -> list[tuple[float, float]]:
    """Return the corners of the convex hull of (P, 2) points, by Andrew's monotone chain."""
    points = sorted({(float(x), float(y)) for x, y in pixels})
    if len(points) < 3:
        return [points[0], points[-1], points[0]]

    def chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        corners: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(corners) > 1:
                (ax, ay), (bx, by) = corners[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                corners.pop()
            corners.append((x, y))
        return corners[:-1]

    return chain(points) + chain(points[::-1])
