"""Draws the app's icons: python -m example_app.icons. A dolmen in white on the accent colour; PNG without a library."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "static" / "icons"
GROUND = (58, 79, 196)
STONE = (255, 255, 255)
ROUND = 3.0  # of 16; the corner of the icon
FINE = 4  # rows that make one row of pixels

Polygon = Sequence[tuple[float, float]]
STONES: tuple[Polygon, ...] = (
    ((4.2, 12.6), (4.2, 6.75), (6.1, 6.5), (6.1, 12.6)),
    ((9.9, 12.6), (9.9, 6.0), (11.8, 5.75), (11.8, 12.6)),
    ((3.0, 4.7), (13.0, 3.4), (13.0, 5.2), (3.0, 6.5)),
)
"""Convex polygons in a square of 16: two that stand and one that lies on them. All of it is in the safe zone of a
maskable icon, a circle of 80 %."""

SIZES = {"icon-192.png": (192, True), "icon-512.png": (512, True)}
FULL = {"maskable-512.png": (512, False), "apple-touch-icon.png": (180, False)}
"""Name: pixels, and whether the corners are round; where not, the system cuts them."""


def svg() -> str:
    """The same as a drawing of lines."""
    shapes = "".join(f'<path fill="#fff" d="{_path(one)}"/>' for one in STONES)
    ground = f'<rect width="16" height="16" rx="{ROUND:g}" fill="#{bytes(GROUND).hex()}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{ground}{shapes}</svg>\n'


def png(size: int, is_round: bool) -> bytes:
    """A square of `size` pixels."""
    rows = b"".join(b"\0" + _row(y, size, is_round) for y in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _row(y: int, size: int, is_round: bool) -> bytes:
    ground, stones = [0.0] * size, [0.0] * size
    for part in range(FINE):
        at = (y + (part + 0.5) / FINE) * 16 / size
        inset = _corner(at) if is_round else 0.0
        _cover(ground, inset, 16 - inset)
        for left, right in _spans(at):
            _cover(stones, left, right)
    made = bytearray()
    for under, over in zip(ground, stones, strict=True):
        share = min(over / FINE, 1.0)
        made += bytes(round(a + (b - a) * share) for a, b in zip(GROUND, STONE, strict=True))
        made.append(round(255 * under / FINE))
    return bytes(made)


def _corner(y: float) -> float:
    """How far in from the side the ground begins at this height."""
    away = max(ROUND - y, y - (16 - ROUND), 0.0)
    return ROUND - float((ROUND**2 - away**2) ** 0.5)


def _spans(y: float) -> Iterator[tuple[float, float]]:
    """From where to where a horizontal line meets each stone."""
    for stone in STONES:
        met = []
        for (x1, y1), (x2, y2) in zip(stone, [*stone[1:], stone[0]], strict=True):
            if (y1 <= y) != (y2 <= y):
                met.append(x1 + (y - y1) * (x2 - x1) / (y2 - y1))
        if met:
            yield min(met), max(met)


def _cover(row: list[float], left: float, right: float) -> None:
    """Add to each pixel the part of it that lies between the two."""
    scale = len(row) / 16
    start, end = left * scale, right * scale
    for x in range(int(start), min(int(end) + 1, len(row))):
        row[x] += max(0.0, min(end, x + 1) - max(start, x))


def _path(polygon: Polygon) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in polygon) + "z"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "icon.svg").write_text(svg(), encoding="utf-8")
    for name, (size, is_round) in {**SIZES, **FULL}.items():
        (FOLDER / name).write_bytes(png(size, is_round))


if __name__ == "__main__":
    main()
