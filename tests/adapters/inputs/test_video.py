"""Videos: the frames, crops and order of the official loader; where each patch lies; what is refused."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from m2ib.contract.inputs import Item
from m2ib.errors import InputError, M2IBError, M2IBWarning
from m2ib_adapters.inputs import film_files
from m2ib_adapters.inputs.films import open_film
from m2ib_adapters.inputs.video import VideoPreparation

VIDEO = VideoPreparation()
MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))
STD = torch.tensor((0.26862954, 0.26130258, 0.27577711))


def moving(count: int, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """(count, rows, columns, 3) uint8: colours that change from place to place, grey that rises with time."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 120, (4, 4, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC))
    return np.stack([still // 2 + np.uint8(number * 2 % 190) for number in range(count)])


def film(
    path: Path,
    frames: np.ndarray,
    rate: Fraction | int,
    codec: str = "mpeg4",
    *,
    form: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    turned: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video; ``stamps`` in milliseconds."""
    unit = 1 / Fraction(rate) if stamps is None else Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = form
        stream.codec_context.time_base = unit
        if turned is not None:
            stream.set_display_rotation(turned)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number if stamps is None else stamps[number], unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path: Path) -> np.ndarray:
    """(frames, H, W, 3): all of a file's frames, one after another."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


# The official order of operations, slowly.


def naive_chosen(count: int, rate: float) -> list[list[int]]:
    """Two frames for each of five clips, by number."""
    duration = count / rate
    chosen = []
    for clip in range(5):
        start = Fraction(max(duration - 2, 0)) / 4 * clip
        first, last = math.ceil(rate * start), min(math.ceil(rate * (start + 2)), count)
        numbers = list(range(first, last))
        chosen.append([numbers[0], numbers[-1]])
    return chosen


def naive(frames: np.ndarray, chosen: list[list[int]], crops: Sequence[int] = (0, 1, 2)) -> torch.Tensor:
    """(clips * crops, 3, 2, 224, 224)."""
    result = []
    for numbers in chosen:
        clip = torch.from_numpy(frames[numbers]).float().permute(3, 0, 1, 2) / 255  # (3, 2, H, W)
        rows, columns = clip.shape[2:]
        if columns < rows:
            size = (math.floor(rows / columns * 224), 224)
        else:
            size = (224, math.floor(columns / rows * 224))
        clip = torch.nn.functional.interpolate(clip, size=size, mode="bilinear", align_corners=False)
        clip = (clip - MEAN[:, None, None, None]) / STD[:, None, None, None]
        for crop in crops:
            top, left = math.ceil((size[0] - 224) / 2), math.ceil((size[1] - 224) / 2)
            if size[0] > size[1]:
                top = (0, top, size[0] - 224)[crop]
            else:
                left = (0, left, size[1] - 224)[crop]
            result.append(clip[:, :, top : top + 224, left : left + 224])
    return torch.stack(result)


def near(item: Item, expected: torch.Tensor) -> None:
    assert isinstance(item.inputs, torch.Tensor)
    assert item.inputs.dtype == torch.float32
    torch.testing.assert_close(item.inputs, expected, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:video( '.*')?(. all . clips show the same frames| holds one frame)")
@settings(max_examples=12)
@given(
    count=st.integers(1, 90),
    rate=st.sampled_from([1, 5.5, 12, 24, 24000 / 1001, 25, 30000 / 1001, 30]),
    rows=st.integers(17, 90),
    columns=st.integers(17, 90),
)
def test_arrays_are_prepared_as_the_official_loader_does(
    count: int, rate: float, rows: int, columns: int
) -> None:
    frames = moving(count, rows, columns)
    item = VIDEO.prepare((frames, rate))
    chosen = naive_chosen(count, float(rate))
    near(item, naive(frames, chosen))
    assert item.origin["chosen"] == chosen
    assert item.origin["seconds"] == pytest.approx(count / rate, rel=1e-5)


@settings(max_examples=200)
@given(count=st.integers(1, 20_000), rate=st.one_of(st.floats(1, 240), st.integers(1, 120).map(float)))
def test_frames_are_chosen_as_the_official_loader_does(count: int, rate: float) -> None:
    film_ = open_film((np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (count, 1, 1, 3)), rate))
    starts = [Fraction(max(count / rate - 2, 0)) / 4 * clip for clip in range(5)]
    ranges = [film_.between(start, start + 2) for start in starts]
    assert [[numbers[0], numbers[-1]] for numbers in ranges] == naive_chosen(count, rate)


FORMATS: dict[str, tuple[str, dict[str, Any], Fraction | int]] = {
    "mpeg4": ("a.mp4", {"codec": "mpeg4"}, 25),
    "h264 with B frames": (
        "a.mp4",
        {"codec": "libx264", "options": {"bf": "2", "g": "12"}},
        Fraction(30000, 1001),
    ),
    "h264, one key frame": ("a.mp4", {"codec": "libx264", "options": {"g": "1000"}}, 24),
    "open groups": (
        "a.mkv",
        {"codec": "libx264", "options": {"x264-params": "open-gop=1:keyint=10:bframes=3"}},
        30,
    ),
    "ffv1": ("a.mkv", {"codec": "ffv1", "form": "bgr0"}, 30),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}, 25),
    "stream": ("a.ts", {"codec": "libx264", "options": {"g": "10"}}, 25),
    "avi": ("a.avi", {"codec": "mpeg4"}, 20),
    "avi with B frames, stamps wrong": ("a.avi", {"codec": "libx264", "options": {"bf": "2"}}, 20),
    "without stamps": ("a.h264", {"codec": "libx264"}, 25),
    "gif": ("a.gif", {"codec": "gif", "form": "rgb8"}, 10),
}


@pytest.mark.parametrize("case", FORMATS)
def test_every_format(tmp_path: Path, case: str) -> None:
    name, ways, rate = FORMATS[case]
    path = film(tmp_path / name, moving(91, 34, 60), rate, **ways)
    frames = decoded(path)
    assert len(frames) == 91
    item = VIDEO.prepare(path)
    chosen = naive_chosen(91, float(rate))
    assert item.origin["chosen"] == chosen
    near(item, naive(frames, chosen))
    np.testing.assert_allclose(item.view.times, np.array(chosen) / float(rate), atol=1e-3)
    assert len(item.origin["sha256"]) == 64
    json.dumps(dict(item.origin))


@pytest.mark.filterwarnings("ignore:video( '.*')?(. all . clips show the same frames| holds one frame)")
def test_lists_of_images_and_tensors_are_videos_too() -> None:
    frames = moving(70, 40, 30)
    expected = naive(frames, naive_chosen(70, 25.0))
    near(VIDEO.prepare(([Image.fromarray(frame) for frame in frames], 25)), expected)
    near(VIDEO.prepare((torch.from_numpy(frames), Fraction(25))), expected)
    grey = [Image.fromarray(frame[:, :, 0]) for frame in frames[:10]]
    near(VIDEO.prepare((grey, 25)), naive(np.repeat(frames[:10, :, :, :1], 3, 3), naive_chosen(10, 25.0)))


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_video_shorter_than_a_clip(tmp_path: Path, count: int) -> None:
    path = film(tmp_path / "short.mkv", moving(count, 30, 40), 25, "ffv1", form="bgr0")
    message = f": all 5 clips show the same frames, for the whole lasts {count / 25:.3g} s and a clip 2 s; one is enough, "
    message += "say clips=1 (options.video.clips=1)"
    if count == 1:
        message = " holds one frame: all that the model sees is this frame, and nothing moves"
    with pytest.warns(M2IBWarning, match=f"^{re.escape(f'video {str(path)!r}{message}')}$"):
        item = VIDEO.prepare(path)
    near(item, naive(decoded(path), [[0, count - 1]] * 5))
    assert item.layout.axes[0].spans == ((0.0, pytest.approx(count / 25)),) * 15


def test_a_still_picture_as_a_video(tmp_path: Path) -> None:
    Image.fromarray(moving(1, 40, 60)[0]).save(tmp_path / "dog.jpg")
    with pytest.warns(M2IBWarning, match=r"dog\.jpg' holds one frame: all that the model sees is this frame"):
        item = VIDEO.prepare(tmp_path / "dog.jpg")
    assert item.origin["chosen"] == [[0, 0]] * 5


def test_one_clip_of_a_short_video_is_not_worth_a_word() -> None:
    assert VideoPreparation(clips=1).prepare((moving(20, 30, 40), 25)).origin["chosen"] == [[0, 19]]


def test_what_is_recorded_is_rounded() -> None:
    origin = VIDEO.prepare((moving(91, 30, 40), 30000 / 1001)).origin
    assert (origin["rate"], origin["seconds"]) == (29.97, 3.03637)
    assert origin["clips"][1] == [0.259092, 2.25909]


def test_a_slow_video_shows_what_is_on_the_screen() -> None:
    """One frame in 5 s: the second clip's 2 s, from 3.25, hold no frame's beginning."""
    frames = moving(3, 30, 30)
    item = VIDEO.prepare((frames, 0.2))
    assert item.origin["chosen"] == [[0, 0], [1, 1], [1, 1], [2, 2], [2, 2]]


def test_frames_at_uneven_times_are_found_by_their_times(tmp_path: Path) -> None:
    stamps = [0, 100, 200, 1500, 1600, 1700, 3000, 4000, 4100, 6000]
    path = film(tmp_path / "uneven.mkv", moving(10, 30, 40), 30, "ffv1", form="bgr0", stamps=stamps)
    item = VIDEO.prepare(path)
    duration = item.origin["seconds"]
    assert duration == pytest.approx(6.033, abs=1e-3)
    chosen = []
    for clip in range(5):
        start = (duration - 2) / 4 * clip
        inside = [number for number, stamp in enumerate(stamps) if start <= stamp / 1000 < start + 2]
        chosen.append([inside[0], inside[-1]])
    assert chosen == [[0, 5], [3, 6], [6, 7], [7, 8], [8, 9]]
    assert item.origin["chosen"] == chosen
    near(item, naive(decoded(path), chosen))
    np.testing.assert_allclose(item.view.times, np.array(stamps)[chosen] / 1000)


@pytest.mark.parametrize("turned", [0, 90, 180, -90])
def test_turned_videos_stand_upright(tmp_path: Path, turned: int) -> None:
    path = film(tmp_path / "phone.mp4", moving(60, 32, 48), 25, turned=turned)
    upright = np.rot90(decoded(path), turned // 90, axes=(1, 2)).copy()
    near(VIDEO.prepare(path), naive(upright, naive_chosen(60, 25.0)))


@pytest.mark.parametrize("name", ["long.mp4", "long.ts"])
def test_a_long_film_is_neither_decoded_nor_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """6,000 frames with a key frame every 50: five clips need about 500 of them, more where seeking is vague."""
    block = moving(50, 36, 64)
    path = film(
        tmp_path / name,
        np.concatenate([block] * 120),
        25,
        "libx264",
        options={"g": "50", "preset": "ultrafast"},
    )
    count = 0
    real = film_files._decoded

    def counting(container: Any, stream: Any) -> Iterator[Any]:
        nonlocal count
        for frame in real(container, stream):
            count += 1
            yield frame

    monkeypatch.setattr(film_files, "_decoded", counting)
    item = VIDEO.prepare(path)
    assert item.origin["frames"] == 6_000
    assert count < (600 if name == "long.mp4" else 1500)


def test_an_animation_with_uneven_delays(tmp_path: Path) -> None:
    shades = [Image.new("RGB", (40, 30), (grey, grey, grey)) for grey in (0, 60, 120, 180, 240)]
    path = tmp_path / "a.gif"
    shades[0].save(
        path, save_all=True, append_images=shades[1:], duration=[100, 2000, 100, 100, 3000], loop=0
    )
    item = VIDEO.prepare(path)
    assert item.origin["seconds"] == pytest.approx(5.3)
    assert item.origin["chosen"] == [[0, 1], [2, 4], [2, 4], [4, 4], [4, 4]]
    np.testing.assert_allclose(item.view.times[2], [2.1, 2.3])
    assert item.view.frames[2, :, 0, 0, 0].tolist() == [120, 240]


# Where things lie.


def test_crops_and_clips_lie_where_the_axes_and_the_view_say() -> None:
    frames = moving(250, 72, 128)
    item = VIDEO.prepare((frames, 25))
    assert item.inputs.shape == (15, 3, 2, 224, 224)
    assert item.layout.grid == (15, 16, 16)
    assert item.layout.index is not None
    assert len(item.layout.index) == 15 * 256
    assert item.layout.index[256] == 258
    clip, row, column = item.layout.axes
    assert (clip.name, row.name, column.name) == ("clip", "row", "column")
    assert clip.spans == tuple((2.0 * n, 2.0 * n + 2) for n in range(5) for _ in range(3))
    assert row.spans == column.spans == tuple((14.0 * n, 14.0 * n + 14) for n in range(16))
    view = item.view
    assert view.frames.shape == (5, 2, 72, 128, 3)
    assert view.size == (224, 224)
    np.testing.assert_array_equal(view.frames[1, 0], frames[50])
    assert [moment for moment, _ in view.parts] == [n for n in range(5) for _ in range(3)]
    wide = 398 / 224 * 72  # the frame is 398 x 224 pixels where it is cropped
    for part, left in zip(view.parts[:3], (0, 87, 174), strict=True):
        assert part[1] == pytest.approx((left * 128 / 398, 0, (left + 224) * 128 / 398, 72))
    assert view.parts[2][1][2] == pytest.approx(128)
    assert wide == pytest.approx(128, abs=0.1)


@pytest.mark.filterwarnings("ignore:video( '.*')?(. all . clips show the same frames| holds one frame)")
def test_one_crop_speaks_of_the_videos_own_pixels() -> None:
    frames = moving(50, 640, 360)
    item = VideoPreparation(crops=1, clips=2).prepare((frames, 25))
    near(item, naive(frames, [[0, 49], [0, 49]], crops=(1,)))
    clip, row, column = item.layout.axes
    assert len(clip.spans) == 2
    assert column.spans[0][0] == 0
    assert column.spans[-1][1] == pytest.approx(360)
    assert row.spans[0][0] == pytest.approx(87 * 640 / 398)
    assert row.spans[-1][1] == pytest.approx((87 + 224) * 640 / 398)
    view = item.view
    assert view.frames.shape == (2, 2, 320, 180, 3)
    assert view.parts[0][1] == pytest.approx((0, 87 * 320 / 398, 180, 311 * 320 / 398))
    assert abs(view.frames[0, 0].astype(float).mean() - frames[0].mean()) < 1


# Preprocessed tensors.


@pytest.mark.filterwarnings("ignore:video( '.*')?(. all . clips show the same frames| holds one frame)")
def test_tensors_describe_themselves() -> None:
    item = VIDEO.prepare((moving(50, 40, 40), 25))
    several = VIDEO.describe(item.inputs)
    assert torch.equal(several.inputs, item.inputs)
    assert several.layout.grid == (15, 16, 16)
    assert several.layout.index == item.layout.index
    assert several.layout.axes[0].unit == "clips"
    assert several.view.frames.shape == (15, 2, 224, 224, 3)
    one = VIDEO.describe(item.inputs[0])
    assert one.inputs.shape == (1, 3, 2, 224, 224)
    assert one.layout.grid == (16, 16)
    assert one.layout.index == tuple(range(1, 257))
    assert [axis.name for axis in one.layout.axes] == ["row", "column"]
    back = one.view.frames[0, 0].astype(float) / 255
    shown = item.inputs[0, :, 0] * STD[:, None, None] + MEAN[:, None, None]
    np.testing.assert_allclose(back, shown.permute(1, 2, 0), atol=0.003)
    other = VIDEO.describe(torch.zeros(2, 3, 2, 28, 56))
    assert other.layout.grid == (2, 2, 4)
    assert other.view.size == (28, 56)
    json.dumps(dict(other.origin))


@pytest.mark.parametrize(
    "shape", [(3, 224, 224), (2, 3, 224, 224), (3, 3, 224, 224), (3, 2, 230, 224), (0, 3, 2, 28, 28)]
)
def test_other_tensors_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InputError, match=r"shape \(3, 2, H, W\) or \(clips, 3, 2, H, W\), with H a multiple of 14"
    ):
        VIDEO.describe(torch.zeros(shape))
    with pytest.raises(InputError, match=r"floating-point type, not torch\.uint8"):
        VIDEO.describe(torch.zeros(3, 2, 28, 28, dtype=torch.uint8))


# What cannot be used.


def refused(raw: Any) -> str:
    with pytest.raises(M2IBError) as caught:
        VIDEO.prepare(raw)
    assert type(caught.value) is InputError
    assert "\n" not in str(caught.value)
    return str(caught.value)


FRAMES = moving(10, 20, 30)


@pytest.mark.filterwarnings("ignore:video( '.*')?(. all . clips show the same frames| holds one frame)")
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (FRAMES, "video: cannot use a ndarray; give a path, bytes, or (frames, rate) with an array (frames, H, W, 3) uint8 "),
        ((25, FRAMES), "video: cannot use (int, ndarray); give a path, bytes, or (frames, rate)"),
        ([Image.fromarray(FRAMES[0])], "video: cannot use a list; give a path, bytes, or (frames, rate)"),
        ((FRAMES, 0), "video: the rate, in frames a second, is a positive number, not 0"),
        ((FRAMES, float("inf")), "video: the rate, in frames a second, is a positive number, not inf"),
        ((FRAMES[:0], 25), "video: an array has the shape (frames, H, W, 3) and the type uint8, not (0, 20, 30, 3) uint8"),
        ((FRAMES / 255, 25), "video: an array has the shape (frames, H, W, 3) and the type uint8, not (10, 20, 30, 3) float64"),
        ((FRAMES.transpose(0, 3, 1, 2), 25), "video: an array has the shape (frames, H, W, 3) and the type uint8, not (10, 3, 20, 30)"),
        (([], 25), "video: the list holds no images"),
        (([FRAMES[0]], 25), "video: frame 0 of the list is a ndarray, not a PIL image"),
        (([Image.new("RGB", (8, 9)), Image.new("RGB", (9, 8))], 1), "video: its frames change from 8x9 to 9x8 pixels; give frames of one size"),
        ((np.zeros((2, 1, 5000, 3), np.uint8), 25), "video: its frames of 5000x1 pixels are too narrow; crop or pad them"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(raw: Any, message: str) -> None:
    assert refused(raw).startswith(message)


def test_options() -> None:
    assert VideoPreparation.of({"crops": 1, "clips": 2}, size=112) == VideoPreparation(2, crops=1, size=112)


def sound_only(folder: Path) -> bytes:
    soundfile.write(folder / "b.wav", np.zeros(16000), 16000)
    return (folder / "b.wav").read_bytes()


def no_frames(folder: Path, ending: str) -> bytes:
    with av.open(str(folder / f"b.{ending}"), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuvj420p"
        container.start_encoding()
    return (folder / f"b.{ending}").read_bytes()


FILES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda folder: b"", "is empty: the file holds 0 bytes"),
    "text": (lambda folder: b"a dog runs " * 99, "is not in a video format that can be read, or damaged: "),
    "half": (
        lambda folder: film(folder / "b.mp4", FRAMES, 25).read_bytes()[:900],
        "is not in a video format that can be read, or damaged: ",
    ),
    "sound": (sound_only, "holds no moving pictures, only audio"),
    "no frames": (lambda folder: no_frames(folder, "avi"), "holds no frames"),
    "nothing": (lambda folder: no_frames(folder, "mov"), "holds no moving pictures"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_cannot_be_read(tmp_path: Path, case: str) -> None:
    content, message = FILES[case]
    path = tmp_path / "a.mp4"
    path.write_bytes(content(tmp_path))
    assert refused(path).startswith(f"video {str(path)!r} {message}")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.mp4") == f"video '{tmp_path}/no.mp4' does not exist; check the path"
    assert refused(str(tmp_path)) == f"video '{tmp_path}' is a folder; name a file"
    assert (
        refused("http://example.org/a.mp4")
        == "video 'http://example.org/a.mp4' is a URL, and nothing is fetched; download it and give the path"
    )


def spoilt(path: Path, start: int, stop: int) -> None:
    """Overwrite the packets of the frames from ``start`` to before ``stop``."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in places[start:stop]:
        content[position : position + size] = b"\xff" * size
    path.write_bytes(content)


def test_a_neighbour_stands_in_for_a_damaged_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "spoilt.avi", moving(100, 32, 48), 25, "mjpeg", form="yuvj420p")
    whole = decoded(path)
    spoilt(path, 99, 100)
    with pytest.warns(
        M2IBWarning, match=r"its frame at 3\.96 s cannot be decoded; the one at 3\.92 s stands in$"
    ):
        item = VIDEO.prepare(path)
    chosen = naive_chosen(100, 25.0)
    assert chosen[4] == [50, 99]
    near(item, naive(whole, [*chosen[:4], [50, 98]]))


def test_a_file_of_damaged_frames_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "spoilt.avi", moving(100, 32, 48), 25, "mjpeg", form="yuvj420p")
    spoilt(path, 0, 100)
    assert refused(path) == f"video {str(path)!r} is damaged: its frame at 0.00 s cannot be decoded"


def test_a_file_that_is_cut_off_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = film(tmp_path / "cut.mkv", moving(100, 32, 48), 25, "ffv1", form="bgr0")
    whole = decoded(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    item = VIDEO.prepare(path)
    count = item.origin["frames"]
    assert 40 < count < 80
    near(item, naive(whole, naive_chosen(count, 25.0)))


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from m2ib_adapters.inputs.video import VideoPreparation\n"
        "try: VideoPreparation().prepare(sys.argv[0])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "AdapterError av is needed here, and missing: pip install 'm2ib[video]'"
