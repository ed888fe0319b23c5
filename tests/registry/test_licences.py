"""Licence and origin as checkpoints tell them: read within bounds, shown as text, and part of every explanation's provenance."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import m2ib
from m2ib.cli import main
from m2ib.registry.licences import told_by, weights_facts
from open_clip_models import VIT, module_of, photo
from tiny_clip import END, START

IDS = torch.tensor([START, 5, 60, END])


def readme(folder: Path, front: str, *, rest: str = "# A model\n", fence: str = "---") -> Path:
    (folder / "README.md").write_text(f"{fence}\n{front}\n{fence}\n{rest}", encoding="utf-8")
    return folder


CARDS: dict[str, tuple[str, dict[str, str]]] = {
    "a word": ("license: mit", {"license": "mit"}),
    "all of it": (
        "language:\n- en\n- no\nlicense: other\nlicense_name: apple-amlr\nlicense_link: https://a.b/LICENSE\n"
        "base_model: one/two\ndatasets: [a/b, c]\ntags: [x]",
        {
            "license": "apple-amlr (https://a.b/LICENSE)",
            "base_model": "one/two",
            "datasets": "a/b, c",
            "language": "en, no",
        },
    ),
    "a name beside a licence": ("license: mit\nlicense_name: mine", {"license": "mit"}),
    "a name alone": ("license_name: mine", {"license": "mine"}),
    "Norwegian": ("language: no", {"language": "no"}),
    "with comments": ("# license: a\nlicense: 'b'  # c", {"license": "b"}),
    "not at the top": ("model-index:\n- license: a\nx:\n  license: b", {}),
    "between others that are damaged": ("tags: [\nlicense: mit\nother: *nothing", {"license": "mit"}),
    "no text": ("license: {a: b}\ndatasets: [{a: b}, c]", {"datasets": "c"}),
    "nothing": ("license:\nbase_model: ''", {}),
    "many": (
        "datasets:\n" + "\n".join(f"- d{n}" for n in range(9)),
        {"datasets": "d0, d1, d2, d3, d4, d5 and 3 more"},
    ),
    "more lines": ("license: |\n  a\n  b\x07", {}),
    "a reference": (
        "base_model: &a [b, *a]\nlicense: *a\nlanguage: en",
        {"base_model": "b", "language": "en"},
    ),
    "a tag of Python's": ("license: !!python/object/apply:os.system ['touch x']", {"license": "touch x"}),
    "long": (f"license: {'y' * 300}", {"license": f"{'y' * 116} ..."}),
    "too long": (f"license: {'y' * 5000}", {}),
    "deep": (f"license: {'[' * 2000}", {}),
}


@pytest.mark.parametrize(("front", "told"), CARDS.values(), ids=CARDS.keys())
def test_what_stands_in_front_of_a_readme(tmp_path: Path, front: str, told: dict[str, str]) -> None:
    assert told_by(readme(tmp_path, front)) == told
    assert not Path("x").exists()


def test_what_is_no_front_matter(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("license: mit\n---\n")
    assert told_by(tmp_path) == {}
    (tmp_path / "README.md").write_text("---\nlicense: mit\n")  # without an end
    assert told_by(tmp_path) == {}
    assert told_by(readme(tmp_path, "license: mit", fence="--")) == {}
    (tmp_path / "README.md").write_bytes(b"---\r\nlicense: mit\r\n---\r\n\xff")
    assert told_by(tmp_path) == {"license": "mit"}
    assert told_by(readme(tmp_path, f"model-index: {'x' * 100_000}\nlicense: mit")) == {"license": "mit"}
    assert told_by(readme(tmp_path, f"model-index: {'x' * 2**20}\nlicense: mit")) == {}
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    assert told_by(tmp_path) == {}
    for nothing in (None, {"a": 1}, torch.nn.Linear(2, 2), "", "no/such", "a\0b", tmp_path / "nowhere"):
        assert told_by(nothing) == {}


def test_the_metadata_of_a_file(tmp_path: Path) -> None:
    path, tensors = tmp_path / "a.safetensors", {"w": torch.ones(2)}
    save_file(tensors, path, {"format": "pt", "license": "mit", "modelspec.base_model": "one/two"})
    assert told_by(path) == {"license": "mit", "base_model": "one/two"}
    save_file(tensors, path, {"modelspec.license": "cc-by\n4.0"})
    assert told_by(path) == {"license": "cc-by 4.0"}
    assert told_by(tmp_path) == {"license": "cc-by 4.0"}
    readme(tmp_path, "license: mit\nlanguage: en")  # which is written for people, and stands over it
    assert told_by(tmp_path) == {"license": "mit", "language": "en"}
    assert told_by(path) == {"license": "cc-by 4.0"}  # a README beside a file may be another's
    path.write_bytes(b"nothing")
    assert told_by(path) == {}
    torch.save(tensors, tmp_path / "a.pt")
    assert told_by(tmp_path / "a.pt") == {}


def test_a_hub_id_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--one--two" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    readme(snapshot, "license: apache-2.0")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert told_by("one/two") == {"license": "apache-2.0"}
    assert told_by("one/three") == {}


def test_what_several_tell(tmp_path: Path) -> None:
    for name in ("mine", "base", "whole"):
        (tmp_path / name).mkdir()
        readme(tmp_path / name, f"license: {name}\nbase_model: of-{name}")
    mine, base, whole = (str(tmp_path / name) for name in ("mine", "base", "whole"))
    assert weights_facts({"checkpoint": mine, "base": base}) == {
        "license": "mine; of the base model: base",
        "base_model": "of-mine",
    }
    assert weights_facts({"checkpoint": "tag", "from": whole, "license": "own"}, "known") == {
        "license": "whole; known; own",
        "base_model": "of-whole",
    }
    assert weights_facts({"checkpoint": "x", "license": "own"}, "own") == {"license": "own"}
    assert weights_facts({"checkpoint": None}, "known") == {}


def test_it_goes_with_every_explanation(
    clip_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = readme(
        Path(shutil.copytree(clip_folder, tmp_path / "clip")), "license: <b>mit</b>\nbase_model: one/two"
    )
    model = m2ib.load_model("auto", checkpoint=folder, device="cpu")
    assert (model.origin["license"], model.origin["base_model"]) == ("<b>mit</b>", "one/two")
    exp = m2ib.explain(model, image=photo(), text=IDS, steps=1, samples=1)
    assert exp.provenance["license"] == "<b>mit</b>"
    page = exp.to_html(tmp_path / "page.html").read_text()
    assert '<tr><th scope="row">license</th><td>&lt;b&gt;mit&lt;/b&gt;</td></tr>' in page
    exp.save(tmp_path / "saved")
    assert m2ib.load_explanation(tmp_path / "saved").provenance["base_model"] == "one/two"
    assert "license" not in m2ib.load_model("clip", checkpoint=clip_folder, device="cpu").origin
    assert main(["adapters", "--can", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "license: <b>mit</b>",
        "base_model: one/two",
        "auto: clip",
    ]


def test_what_adapters_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    import naive_imagebind

    torch.save(naive_imagebind.random_state(naive_imagebind.SMALL, seed=0), tmp_path / "imagebind.pth")
    (tmp_path / "config.json").write_text(json.dumps(naive_imagebind.SMALL))
    known = "ImageBind's published weights: CC BY-NC-SA 4.0 (no commercial use)"
    path = tmp_path / "imagebind.pth"
    assert m2ib.who_opens(path).facts == {"license": known}
    assert m2ib.load_model("imagebind", checkpoint=path, device="cpu").origin["license"] == known
    photo_model: Any = m2ib.load_model("photo", device="cpu", size=64)
    assert photo_model.origin["license"] == "EfficientNet-Lite2's weights and all-MiniLM-L6-v2: Apache-2.0"


def test_where_open_clips_weights_come_from(tmp_path: Path) -> None:
    from m2ib_adapters.openclip.architectures import ChosenArchitecture, resolve

    weights = {key: value.contiguous() for key, value in module_of(VIT).state_dict().items()}
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(__import__("json").dumps({"model_cfg": VIT}))
    readme(tmp_path, "license: mit")
    origin = m2ib.load_model("open-clip", architecture=tmp_path, device="cpu").origin
    assert (origin["from"], origin["license"]) == (str(tmp_path), "mit")
    known = resolve("ViT-B-32")
    tags = {name: known.place(ChosenArchitecture(name, tag=known.tags[name])) for name in known.tags}
    assert tags["laion2b_s34b_b79k"] == "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert all(tags.values())
    assert known.place(ChosenArchitecture("x", tmp_path / "open_clip_model.safetensors")) is None
