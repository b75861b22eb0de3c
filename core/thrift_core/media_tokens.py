"""How many tokens an image, a recording or a document counts, by the providers' rules.

Only the first bytes are looked at, for the size; text that merely carries the bytes (base 64) is never counted as text.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

# What an image counts as whose size cannot be known, such as one behind an address.
_UNKNOWN_IMAGE = (1024, 1024)
_HEAD_CHARS = 262_144
# OpenAI's table, first match: https://platform.openai.com/docs/guides/images-vision#calculating-costs. Tiles: tokens of
# the image and of each tile.
_TILES = (
    (re.compile(r"gpt-4o-mini"), (2833, 5667)),
    (re.compile(r"o1|o3"), (75, 150)),
    (re.compile(r"computer-use"), (65, 129)),
    (re.compile(r"gpt-5(-chat|-2025|$)"), (70, 140)),
    (re.compile(r""), (85, 170)),
)
# Tokens of a patch of 32 x 32 pixels. OpenAI's table says 1.62 and 2.46 for GPT-5 mini and nano; it bills less:
# https://community.openai.com/t/introducing-gpt-5-4-mini-and-nano-our-most-capable-small-models-yet/1377015
_PATCHES = (
    (re.compile(r"gpt-4\.1-mini"), 1.62),
    (re.compile(r"gpt-4\.1-nano"), 2.46),
    (re.compile(r"o4-mini|codex-mini"), 1.72),
    (re.compile(r"gpt-5-nano"), 1.5),
    (re.compile(r"gpt-5(\.\d+)?-(mini|nano)|gpt-5\.[2-9]"), 1.2),
)
_MAX_PATCHES = 1536
# Tokens a second: https://ai.google.dev/gemini-api/docs/tokens for Gemini, and one a tenth of a second at OpenAI.
_AUDIO_PER_SECOND = {"google": 32}
_OTHER_AUDIO_PER_SECOND = 10
_VIDEO_PER_SECOND = 263
# Without a header that says more: 128 kbit/s sound, 1 Mbit/s film.
_AUDIO_BYTES_PER_SECOND = 16_000
_VIDEO_BYTES_PER_SECOND = 125_000
# Anthropic: a page of a PDF is 1,500 to 3,000 tokens (https://docs.claude.com/en/docs/build-with-claude/pdf-support);
# a page has some 50 kB.
_PAGE_TOKENS = 2_000
_PAGE_BYTES = 50_000
_UNKNOWN_SECONDS = 30
# Where blocks of OpenAI, Anthropic, Gemini and the frameworks keep their bytes, or the address of them.
_CARRIERS = (
    "image_url",
    "source",
    "inline_data",
    "inlineData",
    "input_audio",
    "file",
    "base64",
    "data",
    "file_data",
    "image",
    "audio",
    "video",
    "bytes",
    "url",
)


@dataclass(frozen=True, slots=True)
class _Media:
    """The start of a block's bytes, how many there are (0: unknown), and the detail it asks for."""

    head: bytes = b""
    size: int = 0
    detail: str | None = None
    pixels: tuple[int, int] | None = None


def media_tokens(kind: str, block: object, *, provider: str | None = None, model: str | None = None) -> int:
    """Return about how many tokens a block of media counts.

    Args:
        kind: `image`, `audio`, `video`, or anything else for a document.
        block: the block as the framework or the provider's client writes it.
        provider: the provider's id; None: OpenAI's rules.
        model: the model's name, because OpenAI's rules differ by model.
    """
    media = _media(block)
    match kind:
        case "image":
            pixels = media.pixels or image_size(media.head) or _UNKNOWN_IMAGE
            return image_tokens(*pixels, provider=provider, model=model, detail=media.detail)
        case "audio":
            return round(_seconds(media, _AUDIO_BYTES_PER_SECOND) * _audio_rate(provider))
        case "video":
            return round(_seconds(media, _VIDEO_BYTES_PER_SECOND) * _VIDEO_PER_SECOND)
        case _:
            return math.ceil(media.size / _PAGE_BYTES or 1) * _PAGE_TOKENS


def image_tokens(
    width: int, height: int, *, provider: str | None = None, model: str | None = None, detail: str | None = None
) -> int:
    """Return the tokens of an image of so many pixels.

    Anthropic: a token for 750 pixels, after scaling the long side to 1,568 and the whole to about 1,600 tokens
    (https://docs.claude.com/en/docs/build-with-claude/vision). Gemini: 258, or 258 for each tile of 768 pixels where a
    side is longer than 384 (https://ai.google.dev/gemini-api/docs/tokens). OpenAI: patches or tiles, by model, `low`
    detail at the base price where there are tiles. Others: as OpenAI's GPT-4o.
    """
    width, height = max(1, width), max(1, height)
    name = (model or "").lower().rpartition("/")[2]
    if provider == "anthropic" or (provider in {None, "aws"} and "claude" in name):
        return _anthropic_image(width, height)
    if provider == "google" or "gemini" in name:
        small = width <= 384 and height <= 384
        return 258 if small else 258 * math.ceil(width / 768) * math.ceil(height / 768)
    for pattern, per_patch in _PATCHES:
        if pattern.match(name):
            return math.ceil(_patches(width, height) * per_patch)
    base, per_tile = next(tokens for pattern, tokens in _TILES if pattern.match(name))
    return base if detail == "low" else base + per_tile * _tiles(width, height)


def image_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height from the first bytes of a PNG, GIF, JPEG or WebP file, None where they do not say."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if head[:6] in {b"GIF87a", b"GIF89a"} and len(head) >= 10:
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head.startswith(b"\xff\xd8"):
        return _jpeg_size(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) >= 30:
        return _webp_size(head)
    return None


def _anthropic_image(width: int, height: int) -> int:
    scale = min(1.0, 1568 / max(width, height), math.sqrt(1600 * 750 / (width * height)))
    return math.ceil(width * scale * height * scale / 750)


def _tiles(width: int, height: int) -> int:
    """Return how many squares of 512 pixels cover the image, once it fits 2,048 and its short side 768."""
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    # What is scaled to a full side must not count one more for a rounding error.
    return math.prod(math.ceil(round(side * scale, 6) / 512) for side in (width, height))


def _patches(width: int, height: int) -> int:
    """Return how many squares of 32 pixels cover the image, once they are 1,536 at most."""
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches <= _MAX_PATCHES:
        return patches
    scale = math.sqrt(32 * 32 * _MAX_PATCHES / (width * height))
    across, down = width * scale / 32, height * scale / 32
    scale *= min(math.floor(across) / across, math.floor(down) / down)
    sides = (math.ceil(round(side * scale / 32, 6)) for side in (width, height))
    return min(_MAX_PATCHES, math.prod(sides))


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        else:
            at += 2 + max(2, int.from_bytes(head[at + 2 : at + 4], "big"))
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            sides = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
            return sides[0] & 0x3FFF, sides[1] & 0x3FFF
        case _:
            return None


def _audio_rate(provider: str | None) -> int:
    return _AUDIO_PER_SECOND.get(provider or "", _OTHER_AUDIO_PER_SECOND)


def _seconds(media: _Media, bytes_per_second: int) -> float:
    if not media.size:
        return _UNKNOWN_SECONDS
    if media.head[:4] == b"RIFF" and media.head[8:12] == b"WAVE" and len(media.head) >= 32:
        bytes_per_second = int.from_bytes(media.head[28:32], "little") or bytes_per_second
    return media.size / bytes_per_second


def _media(block: object, depth: int = 0) -> _Media:
    """Return what can be known of a block's bytes, wherever its kind of block keeps them."""
    if isinstance(block, str | bytes | bytearray):
        return _bytes_of(block)
    detail = _field(block, "detail")
    sides = (_field(block, "width"), _field(block, "height"))
    pixels = cast("tuple[int, int]", sides) if all(type(side) is int and side > 0 for side in sides) else None
    found = _Media()
    for key in _CARRIERS if depth < 3 else ():
        carried = _field(block, key)
        if carried is not None:
            found = _media(carried, depth + 1)
            if found.size or found.pixels:
                break
    return _Media(
        head=found.head,
        size=found.size,
        detail=detail if isinstance(detail, str) else found.detail,
        pixels=pixels or found.pixels,
    )


def _field(block: object, key: str) -> Any:
    if isinstance(block, Mapping):
        return cast("Mapping[str, Any]", block).get(key)
    return getattr(block, key, None)


def _bytes_of(data: str | bytes | bytearray) -> _Media:
    if isinstance(data, str):
        if data.startswith("data:"):
            data = data.partition(",")[2]
        elif "://" in data[:16]:
            return _Media()
        head = _decoded(data[:_HEAD_CHARS].encode("ascii", "ignore"))
        return _Media(head=head, size=len(data) * 3 // 4 if head else 0)
    head = bytes(data[:_HEAD_CHARS])
    if image_size(head) is None and (decoded := _decoded(head)):
        # Some clients keep base 64 as bytes.
        return _Media(head=decoded, size=len(data) * 3 // 4)
    return _Media(head=head, size=len(data))


def _decoded(encoded: bytes) -> bytes:
    try:
        return base64.b64decode(encoded[: len(encoded) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return b""
