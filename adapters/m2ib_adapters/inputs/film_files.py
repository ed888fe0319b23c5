"""Video files: when each frame is shown, without decoding; and single frames, without decoding all."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.errors import InputError, decoding
from m2ib.notices import warn
from m2ib_adapters.bounds import PIXELS, check_pixels
from m2ib_adapters.inputs.media import InputFile, optional

_ONLY_FILES = {"protocol_whitelist": "file"}  # a playlist must not reach into the network
_USUAL_RATE = 25.0  # frames a second, of a file that gives neither times nor a rate
_TRANSPARENT = re.compile("rgba|bgra|argb|abgr|yuva|gbrap|ya|pal8")  # ffmpeg's names of such pixels
_PICTURE = b"\0\0\1\xb6"  # begins each picture of MPEG-4
_STAND_IN = 19  # bytes at most of a packet in the place of a picture that was packed with an earlier one

Found = tuple[int, Any, float]
"""The number that is asked for, the frame that is there (None: none is), and the seconds at which that is shown."""


class FilmFile:
    """What a video file says about its frames. It is read once, decoding nothing. Raises :class:`InputError`.

    file        which it is
    form        container and codec
    stamps      when each frame is shown, ascending, in units of ``unit``; [] where the file does not say it,
                or says it wrongly: then frames can only be counted
    keys        stamps of the frames that decoding can start from, ascending
    unit        seconds
    packed      whether packets hold two pictures, as DivX and XviD wrote them into AVI
    times       (frames,) float64: seconds from the first frame
    last        seconds that the last frame is shown
    rate        frames a second, on average
    """

    def __init__(self, file: InputFile) -> None:
        av = optional("av", "video")
        self.file, name = file, file.name
        with decoding(name), _opened(file.path, name) as (container, stream):
            self.form = f"{container.format.name} {stream.codec_context.name}"
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            self.unit = float(stream.time_base)
            reordered = stream.codec_context.has_b_frames
            packets = []
            pictures = _Unpacking(stream)
            try:
                for packet in container.demux(stream):
                    if packet.size and not packet.is_discard:
                        pictures.of(packet)
                        packets.append((packet.pts, packet.is_keyframe, packet.duration or 0))
            except av.FFmpegError:
                pass  # what comes before the damage can be seen
            promised = stream.frames  # 0 where the header does not say it
        if not packets:
            raise InputError(f"{name} holds no frames")
        if promised > pictures.count + 1:
            warn(
                f"{name} is cut short: its header promises {promised} frames, of which {pictures.count} are there and read"
            )
        order = [stamp for stamp, _, _ in packets]
        # Frames that are decoded in another order than shown have other stamps than in the order of decoding.
        self.packed = pictures.packed
        counted = self.packed or None in order or (reordered and order == sorted(order))
        self.stamps: list[int] = [] if counted else sorted(set(order))
        if counted:
            self.rate = rate or _USUAL_RATE
            self.times = np.arange(pictures.count if self.packed else len(packets)) / self.rate
            self.last = 1 / self.rate
            return
        stamps, several = self.stamps, len(self.stamps) > 1
        self.times = (np.array(stamps, np.float64) - stamps[0]) * self.unit  # (frames,)
        self.rate = rate or ((len(stamps) - 1) / self.times[-1] if several else _USUAL_RATE)
        self.last = packets[order.index(stamps[-1])][2] * self.unit or 1 / self.rate
        self.keys = sorted({stamp for stamp, is_key, _ in packets if is_key}) or stamps[:1]

    def pictures(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The frames with these numbers (ascending, each once), as (number, (H, W, 3) uint8), upright.

        Warns where a frame is damaged and a neighbour stands in. Raises :class:`InputError`.
        """
        name = self.file.name
        with decoding(name), _opened(self.file.path, name) as (container, stream):
            found = self._by_stamp if self.stamps else self._by_count
            for number, frame, seconds in found(container, stream, numbers):
                wanted = f"its frame at {self.times[number]:.2f} s cannot be decoded"
                if frame is None:
                    raise InputError(f"{name} is damaged: {wanted}")
                if abs(seconds - self.times[number]) * self.rate >= 0.5:
                    warn(f"{name}: {wanted}; the one at {seconds:.2f} s stands in")
                check_pixels(name, frame.width, frame.height)  # need not be what the file says first
                picture = _picture(frame)  # (H, W, 3)
                yield number, np.rot90(picture, round(frame.rotation / 90))  # counter-clockwise, as there

    def _by_stamp(self, container: Any, stream: Any, numbers: Sequence[int]) -> Iterator[Found]:
        """Of frames that cannot be decoded the nearest one."""
        cursor = _Cursor(container, stream, self.keys)
        for number in numbers:
            frame = cursor.at(self.stamps[number])
            yield number, frame, 0.0 if frame is None else (frame.pts - self.stamps[0]) * self.unit

    def _by_count(self, container: Any, stream: Any, numbers: Sequence[int]) -> Iterator[Found]:
        """Of frames that cannot be decoded the last one before."""
        frames = enumerate(_decoded(container, stream, packed=self.packed))
        at, frame = -1, None
        for number in numbers:
            while at < number and (following := next(frames, None)) is not None:
                at, frame = following
            yield number, frame, float(self.times[at])


class _Cursor:
    """Walks through an open file's frames, and jumps where that is shorter."""

    def __init__(self, container: Any, stream: Any, keys: Sequence[int]) -> None:
        self._container, self._stream, self._keys = container, stream, keys
        self._frames = _decoded(container, stream)
        self._before: Any = None
        self._last: Any = None

    def at(self, stamp: int) -> Any:
        """The frame with this stamp; the nearest one where it is damaged; None where there is none."""
        place = max(0, bisect_right(self._keys, stamp) - 1)
        if self._keys[place] > (self._keys[0] if self._last is None else self._last.pts):
            self._jump(self._keys[place])
        self._walk(stamp)
        back = 1
        while place and self._before is None and (self._last is None or self._last.pts > stamp):
            place, back = max(0, place - back), back * 2  # some formats land too far: from further ahead
            self._jump(self._keys[place])
            self._walk(stamp)
        near = [frame for frame in (self._before, self._last) if frame is not None]
        return min(near, key=lambda frame: abs(frame.pts - stamp), default=None)

    def _jump(self, stamp: int) -> None:
        self._container.seek(stamp, stream=self._stream)
        self._frames = _decoded(self._container, self._stream)
        self._before = self._last = None

    def _walk(self, stamp: int) -> None:
        while self._last is None or self._last.pts < stamp:
            frame = next(self._frames, None)
            if frame is None:
                return
            if frame.pts is not None:
                self._before, self._last = self._last, frame


def _picture(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8; what is transparent is laid on white, as of images."""
    if not _TRANSPARENT.match(frame.format.name):
        return np.asarray(frame.to_ndarray(format="rgb24"))
    pixels = frame.to_ndarray(format="rgba").astype(np.uint16)  # (H, W, 4)
    colours, opaque = pixels[..., :3], pixels[..., 3:]
    return ((colours * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)


class _Unpacking:
    """Takes packets apart that hold two pictures: one that is shown later, and one that is shown before it.

    The picture's own place is then taken by a small packet, an empty one, or none.
    """

    def __init__(self, stream: Any) -> None:
        self._looking = stream.codec_context.name == "mpeg4"
        self._waiting = 0  # pictures whose place is still to come
        self.count, self.packed = 0, False

    def of(self, packet: Any) -> list[bytes]:
        """The pictures of a packet; none of one that stands for a picture that was there before."""
        data = bytes(packet) if self._looking else b""
        second = data.find(_PICTURE, data.find(_PICTURE) + 1)
        if second > 0:
            self.packed, pieces, self._waiting = True, [data[:second], data[second:]], self._waiting + 1
        elif self._waiting and len(data) <= _STAND_IN:
            pieces, self._waiting = [], self._waiting - 1
        else:
            pieces = [data]
        self.count += len(pieces)
        return pieces


def _decoded(container: Any, stream: Any, *, packed: bool = False) -> Iterator[Any]:
    """Frames in the order they are shown, without those that are damaged."""
    av = optional("av", "video")
    packets, pictures = container.demux(stream), _Unpacking(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        # the last packet is empty: the decoder then gives what it kept
        parts = [av.Packet(part) for part in pictures.of(packet)] if packed and packet.size else [packet]
        for part in parts:
            try:
                yield from stream.codec_context.decode(part) if packed else part.decode()
            except av.FFmpegError:
                continue


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[Any, Any]]:
    """The open file and its first stream of pictures. Raises :class:`InputError`."""
    av = optional("av", "video")
    try:
        container = av.open(str(path.resolve()), options=_ONLY_FILES, metadata_errors="replace")
    except av.FFmpegError as error:
        raise InputError(
            f"{name} is not in a video format that can be read, or damaged: {error.strerror}"
        ) from None
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            held = " and ".join(sorted({stream.type for stream in container.streams}))
            raise InputError(f"{name} holds no moving pictures{held and ', only ' + held}")
        stream = streams[0]
        if stream.codec_context is None:
            raise InputError(f"{name}: there is no decoder for its pictures; convert it to MP4")
        check_pixels(name, stream.width, stream.height)
        stream.codec_context.options = {"max_pixels": str(PIXELS.limit)}
        yield container, stream
