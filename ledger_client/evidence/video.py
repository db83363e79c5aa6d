"""The key frames of a video, decoded and scaled as pictures are.

It decodes the first picture track in one thread. That the decoder gives key frames alone and opens
files alone is said in its environment, by inspection.py, since it takes that from nowhere else. It
knows no metadata, and gives no frame's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
from PIL import Image

from ledger_client.errors import Uninspectable
from ledger_client.evidence.decoding import PIXELS_MAX, scale

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMES_MAX = 64


def list_key_frames(path: str) -> Iterator[Image.Image]:
    """Decode the first 64 key frames of a video. *Raises*: Uninspectable."""
    film = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        width, height = film.get(cv2.CAP_PROP_FRAME_WIDTH), film.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if not film.isOpened() or width * height <= 0:
            raise Uninspectable("broken", "The video can't be decoded.")
        if width * height > PIXELS_MAX:
            raise Uninspectable("too-many-pixels", f"A frame has at most {PIXELS_MAX} pixels.")
        for number in range(FRAMES_MAX):
            there, frame = film.read()
            if not there:
                if number == 0:
                    raise Uninspectable("broken", "The video has no frame that can be decoded.")
                return
            size = (frame.shape[1], frame.shape[0])
            yield scale(Image.frombytes("RGB", size, frame.tobytes(), "raw", "BGR"))
    except cv2.error as error:
        raise Uninspectable("broken", "The video can't be decoded.") from error
    finally:
        film.release()
