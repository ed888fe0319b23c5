"""Pairs out of COCO's instances and captions, with masks as COCO's own tools have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as official

import m2ib
from m2ib import Box
from m2ib.data import Pairs, open_pairs
from m2ib.data.rle import mask_of
from m2ib.errors import InputError, SettingError
from m2ib.evaluation.truth import truth_of

Open = Callable[..., Pairs]
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools' own


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Not compressed, as COCO has its crowds."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    ends = np.flatnonzero(np.diff(flat.astype(int)))
    cuts = np.concatenate([[0], ends, [mask.size]])
    return {"size": list(mask.shape), "counts": np.diff(cuts).tolist()}


def packed(mask: np.ndarray) -> dict[str, Any]:
    found = official.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def one(image: int, category: int, segmentation: Any, box: Any = (1, 2, 3, 4), **more: Any) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "bbox": box and list(box),
        **more,
    }


CROWD = np.zeros((30, 40), bool)
CROWD[20:28, 5:9] = True
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 28, "name": "umbrella"}, {"id": 3, "name": "traffic_light"}]
IMAGES = [
    {"id": 9, "file_name": "a b.jpg", "width": 40, "height": 30},
    {"id": 7, "file_name": "b.jpg", "width": 40, "height": 30},
    {"id": 8, "file_name": "empty.jpg", "width": 40, "height": 30},
]
ANNOTATIONS = [
    one(7, 28, square(3, 4, 10), (3, 4, 10, 10), area=100, id=1),
    one(9, 28, packed(CROWD), None, area=32, id=2),
    one(9, 18, [*square(3.5, 4, 10), *square(20, 4, 5)], (3.5, 4, 21.5, 10), area=125, id=3),
    one(9, 18, runs(CROWD), (5, 20, 4, 8), area=32, iscrowd=1, id=4),
]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Writes a file and opens it."""
    for image in IMAGES:
        Image.new("RGB", (40, 30), "grey").save(tmp_path / str(image["file_name"]))

    def open_it(
        annotations: Any = ANNOTATIONS, images: Any = IMAGES, known: Any = CATEGORIES, **options: Any
    ) -> Pairs:
        content = {"images": images, "annotations": annotations, "categories": known}
        (tmp_path / "instances.json").write_text(json.dumps(content))
        return open_pairs("coco", annotations=tmp_path / "instances.json", images=tmp_path, **options)

    return open_it


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


def test_categories(opened: Open, tmp_path: Path) -> None:
    pairs = opened()
    assert (pairs.name, pairs.modalities, pairs.located, pairs.total()) == (
        "instances",
        ("image", "text"),
        True,
        3,
    )
    dog, umbrella, alone = pairs
    assert [pair.id for pair in (dog, umbrella, alone)] == ["9-dog", "9-umbrella", "7-umbrella"]
    assert dog.inputs == (("image", tmp_path / "a b.jpg"), ("text", "a dog"))
    assert umbrella.inputs[1] == ("text", "an umbrella")
    assert dog.boxes == (Box(3.5, 4, 21.5, 10, "dog"), Box(5, 20, 4, 8, "dog"))
    assert umbrella.boxes == ()
    polygons = official.decode(official.frPyObjects(ANNOTATIONS[2]["segmentation"], 30, 40)).any(2)
    assert np.array_equal(dog.regions[0].mask, polygons | CROWD)
    assert np.array_equal(umbrella.regions[0].mask, CROWD)
    assert (dog.regions[0].name, [other.name for other in dog.others[0]]) == ("dog", ["umbrella"])
    assert np.array_equal(dog.others[0][0].mask, CROWD)
    assert alone.others == {0: ()}
    row, column = dog.regions[0].axes
    assert (row.name, row.unit, row.spans[0], row.spans[-1]) == ("row", "px", (0.0, 1.0), (29.0, 30.0))
    assert (column.name, column.spans[-1]) == ("column", (39.0, 40.0))
    assert pairs.bad == []


def test_metrics_find_the_truth(opened: Open, clip64: m2ib.Model) -> None:
    dog, *_ = opened()
    truth = truth_of(dog, 0, clip64.item(*dog.inputs[0]))
    assert truth is not None
    assert np.array_equal(truth.mask, dog.regions[0].mask)
    assert np.array_equal(truth.others, CROWD)


def test_what_is_asked_for(opened: Open) -> None:
    phrases = [pair.inputs[1][1] for pair in opened(template="A photo of a {category}, a {category}.")]
    assert phrases[:2] == ["A photo of a dog, a dog.", "A photo of an umbrella, an umbrella."]
    assert [pair.inputs[1][1] for pair in opened(template="{category}")] == ["dog", "umbrella", "umbrella"]
    (pair,) = opened(categories="traffic_light, dog")
    assert (pair.id, [other.name for other in pair.others[0]]) == ("9-dog", ["umbrella"])
    assert [pair.id for pair in opened(least=100 / 1200)] == ["9-dog", "7-umbrella"]
    assert [pair.id for pair in opened(least=101 / 1200)] == ["9-dog"]
    unmeasured = [{name: each[name] for name in each if name != "area"} for each in ANNOTATIONS]
    assert [pair.id for pair in opened(unmeasured, least=100 / 1200)] == ["9-dog", "7-umbrella"]


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("traffic_light", "a traffic light"), ("Apple", "an Apple"), ("unicorn", "a unicorn"), ("uncle", "an uncle"),
        ("hourglass", "an hourglass"), ("house", "a house"), ("one-way sign", "a one-way sign"), ("X-ray", "an X-ray"),
        ("utensil", "a utensil"), ("oven", "an oven"), ("bus", "a bus"),
    ],
)  # fmt: skip
def test_a_or_an(opened: Open, name: str, phrase: str) -> None:
    (pair,) = opened([one(7, 1, square(3, 4, 5))], known=[{"id": 1, "name": name}])
    assert pair.inputs[1][1] == phrase


SIDES = st.integers(1, 40)
CORNERS = st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=3, max_size=12)


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, st.lists(CORNERS, min_size=1, max_size=3), st.sampled_from([0, 1, None]))
def test_polygons_are_cocos_own_pixels(
    height: int, width: int, polygons: list[Any], digits: int | None
) -> None:
    scaled = [
        [
            value if digits is None else round(value, digits)
            for x, y in corners
            for value in (x * width, y * height)
        ]
        for corners in polygons
    ]
    wanted = official.decode(official.merge(official.frPyObjects(scaled, height, width)))
    assert np.array_equal(mask_of([scaled], (height, width)), wanted.astype(bool))


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, st.integers(0, 2**32))
def test_runs_are_cocos_own_pixels(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.kron(
        rng.random((height, width)) < 0.5, np.ones((rng.integers(1, 9), rng.integers(1, 9)))
    ).astype(bool)
    for written in (packed(mask), runs(mask)):
        assert np.array_equal(mask_of([written], mask.shape), mask)


def test_images_that_were_made_smaller(opened: Open, tmp_path: Path) -> None:
    Image.new("RGB", (20, 15)).save(tmp_path / "b.jpg")
    (pair,) = opened(ANNOTATIONS[:1])
    (row, column), mask = pair.regions[0].axes, pair.regions[0].mask
    assert (mask.shape, row.spans[-1], column.spans[0]) == ((30, 40), (14.5, 15.0), (0.0, 0.5))
    assert pair.boxes == (Box(1.5, 2, 5, 5, "umbrella"),)
    turned = Image.Exif()
    turned[0x0112] = 6
    for picture, exif in ((Image.new("RGB", (30, 30)), None), (Image.new("RGB", (40, 30)), turned)):
        picture.save(tmp_path / "b.jpg", exif=exif or Image.Exif())
        size = "30x30" if exif is None else "30x40"
        pairs = opened(annotations=ANNOTATIONS[:1])
        assert (list(pairs), bad(pairs)) == (
            [],
            [
                f"image 7, umbrella: its image has {size} pixels, and its annotations were drawn on 40x30: it was cropped or "
                "turned"
            ],
        )
    Image.new("RGB", (30, 40)).save(tmp_path / "b.jpg", exif=turned)  # upright it is as the file says
    assert len(list(opened(annotations=ANNOTATIONS[:1]))) == 1


@pytest.mark.parametrize(
    ("annotation", "place", "reason"),
    [
        (one(99, 18, square(1, 1, 5)), "annotation 0", "there is no image with its image_id 99"),
        ("oops", "annotation 0", "it is no annotation but 'oops'"),
        (one(7, 99, square(1, 1, 5)), "image 7", "annotation 0: there is no category 99"),
        (one(7, 18, [[1, 2, 3, 4]]), "image 7, dog", "its polygon array('d', [1.0, 2.0, 3.0, 4.0]) is not x, y, x, y, ... of"),
        (one(7, 18, [[1, 2, 3, 4, 5, float("nan")]]), "image 7, dog", "is not x, y, x, y, ... of three corners or more"),
        (one(7, 18, [[1, 2, 3, 4, 5, "six"]]), "image 7, dog", "is not x, y, x, y, ... of three corners or more"),
        (one(7, 18, [[1, 2, 3, 4, 5, 10**400]]), "image 7, dog", "is not x, y, x, y, ... of three corners or more"),
        (one(7, 18, [[1, 2, 3, 4, 5, 6e6]]), "image 7, dog", "its polygon reaches far out of its image"),
        (one(7, 18, square(90, 90, 5)), "image 7, dog", "its masks of 'dog' hold no pixel"),
        (one(7, 18, 5), "image 7, dog", "its segmentation is neither polygons nor runs but 5"),
        (one(7, 18, {"size": [30, 40], "counts": [1, 2]}), "image 7, dog", "its mask's counts [1, 2] are not the 1,200 pixels"),
        (one(7, 18, {"size": [40, 30], "counts": [1200]}), "image 7, dog", "its mask has the size [40, 30], and its image [30, 40]"),
        (one(7, 18, {"size": [30, 40], "counts": "\u00ff"}), "image 7, dog", "are no runs"),
        (one(7, 18, {"size": 7, "counts": [1200]}), "image 7, dog", "its mask has the size 7, and its image [30, 40]"),
        (one(7, 18, {"size": [30, 40]}), "image 7, dog", "its mask's counts None are not the 1,200 pixels of its image"),
        (one(7, 18, square(1, 1, 5), (1, 2, 3)), "image 7, dog", "its bbox is no [x, y, w, h] but [1, 2, 3]"),
        (one(7, 18, square(1, 1, 5), (1, 2, -3, 4)), "image 7, dog", "give finite numbers, width and height above 0"),
    ],
)  # fmt: skip
def test_bad_annotations(opened: Open, annotation: Any, place: str, reason: str) -> None:
    pairs = opened([annotation, ANNOTATIONS[2]])
    assert [pair.id for pair in pairs] == ["9-dog"]
    ((found, said),) = ((row.place, row.reason) for row in pairs.bad)
    assert found == place
    assert reason in said


def test_bad_images(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").unlink()
    images = [
        *IMAGES, IMAGES[0], {"file_name": "x"}, {"id": 1, "coco_url": "http://x/sub/a b.jpg"},
        {"id": 2, "file_name": "a b.jpg", "width": "40", "height": 30},
    ]  # fmt: skip
    annotations = [*ANNOTATIONS, one(1, 18, square(1, 1, 5)), one(2, 18, square(1, 1, 5))]
    pairs = opened(annotations, images)
    assert [pair.id for pair in pairs] == ["9-dog", "9-umbrella", "1-dog"]
    assert bad(pairs) == [
        "image 3: its id 9 is that of an earlier image",
        "image 4: it is no image with an id but {'file_name': 'x'}",
        f"image 7, umbrella: there is no image {str(tmp_path / 'b.jpg')!r}",
        "image 2, dog: its image's width and height are '40' and 30, not whole numbers above 0",
    ]


def test_boxes_alone(opened: Open) -> None:
    annotations = [
        one(7, 18, [], (3, 4, 10, 5), id=1),
        one(7, 28, square(1, 1, 9), (0, 0, 0, 5)),
        one(9, 18, None, None, id=5),
    ]
    with pytest.warns(
        m2ib.M2IBWarning, match="2 of 3 annotations have no segmentation; their boxes stand in$"
    ):
        pairs = opened(annotations)
    dog, umbrella = pairs
    assert np.argwhere(dog.regions[0].mask)[[0, -1]].tolist() == [[4, 3], [8, 12]]
    assert umbrella.boxes == ()  # of no area
    assert bad(pairs) == ["image 9, dog: annotation 5 has neither a segmentation nor a bbox"]


def test_captions(opened: Open, tmp_path: Path) -> None:
    said = [
        (9, 30, "a dog "),
        (7, 10, "an umbrella"),
        (9, 20, "two dogs"),
        (8, 40, "nothing"),
        (7, 11, " "),
        (5, 12, "x"),
    ]
    captions = [{"image_id": image, "id": number, "caption": text} for image, number, text in said]
    (tmp_path / "captions.json").write_text(json.dumps({"images": IMAGES, "annotations": captions}))
    alone = open_pairs("coco", annotations=tmp_path / "captions.json", images=tmp_path)
    both = opened(captions=tmp_path / "captions.json")
    wanted = [("30", "a dog"), ("20", "two dogs"), ("10", "an umbrella"), ("40", "nothing")]
    for pairs in (alone, both):
        assert [(pair.id, pair.inputs[1][1]) for pair in pairs] == wanted
        assert bad(pairs) == [
            "annotation 5: there is no image with its image_id 5",
            "annotation 4: its caption is empty",
        ]
        assert pairs.total() == 6
    assert (alone.located, [pair.regions for pair in alone]) == (False, [{}] * 4)
    dog, _, umbrella, nothing = both
    objects = {pair.id: pair.regions[0].mask for pair in opened()}
    assert np.array_equal(dog.regions[0].mask, objects["9-dog"] | objects["9-umbrella"])
    assert (dog.regions[0].name, dog.others, len(dog.boxes)) == ("objects", {}, 2)
    assert np.array_equal(umbrella.regions[0].mask, objects["7-umbrella"])
    assert (both.located, nothing.regions, nothing.boxes) == (True, {}, ())
    with pytest.raises(
        SettingError, match=r"template= makes phrases of categories, and captions are texts themselves$"
    ):
        opened(captions=tmp_path / "captions.json", template="{category}")
    with pytest.raises(
        InputError,
        match=r"captions\.json' holds captions; annotations are the JSON of instances where captions are given too$",
    ):
        open_pairs(
            "coco",
            annotations=tmp_path / "captions.json",
            images=tmp_path,
            captions=tmp_path / "captions.json",
        )
    with pytest.raises(InputError, match=r"instances\.json' holds no captions$"):
        opened(captions=tmp_path / "instances.json")
    for options in ({"template": "{category}"}, {"least": 0.5}, {"categories": "dog"}):
        with pytest.raises(SettingError, match=r"is for instances, and .*captions\.json' holds captions$"):
            open_pairs("coco", annotations=tmp_path / "captions.json", images=tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"template": "a dog"}, SettingError, "data format 'coco': template='a dog' lacks {category}"),
        ({"least": 2}, SettingError, "data format 'coco': least=2 is no share of the image, from 0 to 1"),
        ({"least": True}, SettingError, "data format 'coco': least=True is no share of the image, from 0 to 1"),
        ({"categories": "dig"}, SettingError, "has no category 'dig'; did you mean 'dog'? It has 'dog', 'umbrella', 'traffic_light'"),
        ({"annotations": []}, InputError, "has no annotations"),
    ],
)  # fmt: skip
def test_what_is_refused(opened: Open, options: dict[str, Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error) as caught:
        opened(**options)
    assert str(caught.value).endswith(reason)
