"""Molecules as SMILES strings, brought by a package that m2ib knows nothing of (``plugin_molecules/``), in all that m2ib does."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.nn.functional import cosine_similarity

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib.cli import main
from m2ib.evaluation.results import read_results
from m2ib.registry.discovery import Registry
from m2ib.testing import check_adapter
from molecules import ATOMS, CHLORIDE, PAIRS, SCRIPT, install
from naive import capacity

# Its texts are three words, of which a fit may keep none.
pytestmark = pytest.mark.filterwarnings("ignore:text. the fit lost the similarity:m2ib.M2IBWarning")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as an installer puts it; the folder."""
    return install(plugins, monkeypatch)


@pytest.fixture
def model(installed: Path) -> m2ib.Model:
    return m2ib.load_model("molecules", device="cpu", dtype="float64")


def test_the_core_does_not_know_them() -> None:
    found, kinds = [], set()
    for path in [*(ROOT / "m2ib").rglob("*"), *(ROOT / "adapters").rglob("*")]:
        if path.is_file() and not any(
            part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts
        ):
            kinds.add(path.suffix)
            if re.search(rb"smiles|molecul", path.read_bytes(), re.IGNORECASE):
                found.append(path)
    assert {".py", ".jinja", ".css", ".js"} <= kinds
    assert found == []


def test_they_are_listed(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert m2ib.list_adapters()["molecules"].modalities == ("smiles", "text")
    assert m2ib.list_renderers()["molecule"].origin == "m2ib-molecules"
    assert m2ib.list_methods()["heavy"].origin == "m2ib-molecules"
    assert main(["adapters"]) == 0
    assert re.search(r"molecules +smiles, text", capsys.readouterr().out)


def test_the_contract_is_kept(installed: Path) -> None:
    examples = {"smiles": ["CCCl", CHLORIDE, "c1ccccc1O", "[Na+].[Cl-]"], "text": ["a chloride", "alcohol"]}
    results = check_adapter("molecules", examples)
    assert {("smiles", "degradation"), ("smiles", "padding"), ("smiles", "batch")} <= {
        (result.modality, result.check) for result in results if not result.failure
    }


def test_check_finds_its_examples(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "molecules", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "molecules keeps the contract"
    assert main(["check", "molecules", "--smiles", "CCO", "--smiles", "CC(=O)Cl"]) == 0


def test_the_map_is_that_of_the_textbook_loop(model: m2ib.Model) -> None:
    explanation = m2ib.explain(
        model, smiles=CHLORIDE, text="a chloride", layer={"smiles": 1, "text": 0}, beta=0.1
    )
    encoders = model.encoders
    smiles, text = model.preprocess("smiles", [CHLORIDE]), model.preprocess("text", ["a chloride"])
    with torch.no_grad():
        targets = {"smiles": encoders["text"].embed(text), "text": encoders["smiles"].embed(smiles)}
    for modality, inputs, layer in (("smiles", smiles, 1), ("text", text, 0)):
        encoder = encoders[modality]
        nats = capacity(
            lambda encoder=encoder, inputs=inputs: encoder.embed(inputs),  # type: ignore[misc]
            encoder.blocks[layer].module,
            targets[modality],
            beta=0.1,
            variance=1.0,
        )
        np.testing.assert_allclose(explanation[modality].grid, nats.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("word", "atom"), [("chloride", 7), ("amine", 4), ("alcohol", 0)])
def test_the_map_points_at_the_atom_that_is_named(model: m2ib.Model, word: str, atom: int) -> None:
    for method in ("m2ib", "rise", "kernelshap", "gradcam", "integrated-gradients"):
        settings = {"masks": 200} if method in ("rise", "kernelshap") else {}
        found = m2ib.explain(model, smiles=CHLORIDE, text=f"an {word}", method=method, settings=settings)
        assert found["smiles"].grid.argmax() == atom, method
    for seed in range(5):
        grid = m2ib.explain(model, smiles=CHLORIDE, text=f"an {word}", seed=seed)["smiles"].grid
        assert grid[atom] > 2 * np.delete(grid, atom).max()
    rise = m2ib.explain(
        model, smiles=CHLORIDE, text=f"simple {word} thing", method="rise", settings={"masks": 200}
    )
    words = dict(rise["text"].words)
    assert max(words, key=words.__getitem__) == word


def test_every_method_explains_them_or_says_why_not(model: m2ib.Model) -> None:
    reads_attention = []
    for info in m2ib.list_methods():
        pair = ("smiles", CHLORIDE), ("smiles", "CC[Cl]")
        if isinstance(info.spec, m2ib.PairMethodSpec):
            continue
        if info.spec.attention:
            reads_attention.append(info.name)
            with pytest.raises(m2ib.SettingError) as caught:
                m2ib.explain(model, *pair, method=info.name)
            assert str(caught.value) == (
                f"method {info.name!r} is not defined for smiles of the model 'molecules': it reads attention, and this "
                "encoder shows none"
            )
        else:
            found = m2ib.explain(model, *pair, method=info.name)
            assert [attribution.grid.shape for attribution in found] == [(8,), (3,)], info.name
            assert all(np.isfinite(attribution.grid).all() for attribution in found), info.name
    assert reads_attention


def test_saliency_is_the_length_of_the_gradient_at_the_atoms(model: m2ib.Model) -> None:
    found = m2ib.explain(model, smiles=CHLORIDE, text="chloride", method="saliency")["smiles"]
    inputs, module = model.preprocess("smiles", [CHLORIDE]), model.module
    target = model.encoders["text"].embed(model.preprocess("text", ["chloride"]))
    atoms = module.atoms(inputs["atoms"]).detach().requires_grad_()  # (1, A, C)
    x = atoms
    for block in module.passing:
        x = block(x, inputs["bonds"])
    (gradient,) = torch.autograd.grad(cosine_similarity(x.mean(1), target).sum(), atoms)
    np.testing.assert_allclose(found.grid, gradient[0].norm(dim=-1).numpy(), rtol=1e-9)


def test_batches_give_what_each_gives_alone(model: m2ib.Model) -> None:
    """Molecules of different sizes are padded to run together; texts of different lengths run apart."""
    sizes = ("OCCCl", "CCCCCN", "BrC", "c1ccccc1S")
    pairs = [{"smiles": smiles, "text": "an amine"} for smiles in sizes]
    pairs += [{"smiles": smiles, "text": text} for smiles, text in PAIRS]
    seen = set()
    handle = (
        model.encoders["smiles"]
        .blocks[0]
        .module.register_forward_hook(lambda module, args, output: seen.add(output.shape))
    )
    together = list(m2ib.explain_many(model, pairs, batch_size=8))
    handle.remove()
    assert max(shape[:2] for shape in seen) >= (len(sizes), 7)
    for pair, found in zip(pairs, together, strict=True):
        for mine, alone in zip(found, m2ib.explain(model, **pair), strict=True):
            np.testing.assert_allclose(mine.grid, alone.grid, rtol=1e-9, atol=1e-12)


def test_contrasts(model: m2ib.Model) -> None:
    found = m2ib.explain(model, smiles=CHLORIDE, text=m2ib.contrast("chloride", "alcohol"))["smiles"]
    assert (found.grid.argmax(), found.against.argmax()) == (7, 0)  # type: ignore[union-attr]


def test_another_side_that_says_nothing(model: m2ib.Model) -> None:
    with pytest.raises(m2ib.InputError, match=r"^text: the embedding is 0, so it is close to nothing"):
        m2ib.explain(model, smiles="CCO", text=torch.tensor([0, 0]))


# On the command line, on a page, on disk.


def test_the_command_line(installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    pair = ["--model", "molecules", "--smiles", CHLORIDE, "--text", "a chloride"]
    assert main(["explain", *pair, "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str((out / "index.html").resolve())
    page = (out / "index.html").read_text()
    (figure,) = re.findall(r'<figure class="molecule".*?</figure>', page, re.DOTALL)
    assert len(re.findall("<line ", figure)) == len(ATOMS) - 1
    discs = re.findall(r' (\d+)%\)" tabindex="0"><title>(\w+): ', figure)
    assert [name for _, name in discs] == ATOMS
    assert min(discs, key=lambda disc: int(disc[0])) == ("50", "Cl")  # the darkest
    assert page.count(SCRIPT) == 1
    assert "<h3>smiles" in page
    assert (out / "figure.png").stat().st_size > 5000


def test_bad_input_on_the_command_line(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--model", "molecules", "--smiles", "CC(C", "--text", "amine"]) == 2
    assert capsys.readouterr().err == (
        "m2ib: error: smiles 'CC(C': the branch is left open that begins at character 3; atoms are B C N O F Na P S Cl Br "
        "I b c n o p s *\n"
    )


def test_methods_side_by_side(installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["--model", "molecules", "--smiles", CHLORIDE, "--smiles", "[Na+].[Cl-]"]
    methods = [
        "--method",
        "m2ib,heavy,rise,saliency",
        "settings.masks=50",
        "--out",
        str(tmp_path / "several"),
    ]
    assert main(["explain", *pair, *methods]) == 0
    page = (tmp_path / "several" / "index.html").read_text()
    assert [page.count(f"<h3>{name} ") for name in ("m2ib", "heavy", "rise", "saliency")] == [2, 2, 2, 2]
    assert page.count('<figure class="molecule"') == 8
    assert page.count(SCRIPT) == 1
    assert page.count("<title>Cl: 35.5 u</title>") == 2
    assert m2ib.load_explanation(tmp_path / "several" / "heavy")[1].grid.tolist() == [23, 35.5]


def test_a_page_of_many_has_the_script_once(model: m2ib.Model, tmp_path: Path) -> None:
    found = [m2ib.explain(model, smiles=smiles, text=text) for smiles, text in PAIRS]
    page = m2ib.write_page(found, tmp_path / "many.html").read_text()
    assert (page.count('<figure class="molecule"'), page.count(SCRIPT)) == (len(PAIRS), 1)


def test_the_plugin_is_found_by_the_program(installed: Path, tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(installed)!r}); from m2ib.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [
        "explain",
        "--smiles",
        "CCCl",
        "--text",
        "chloride",
        "--model",
        "molecules",
        "--out",
        str(tmp_path / "x"),
    ]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.splitlines()[-1]).read_text().count('<figure class="molecule"') == 1


def test_methods_of_the_plugin_are_refused_elsewhere(model: m2ib.Model) -> None:
    found = m2ib.explain(model, ("smiles", CHLORIDE), ("smiles", "CCO"), method="heavy")
    assert found[0].grid.tolist() == [16, 12, 12, 12, 14, 12, 12, 35.5]
    assert found[0].unit == "u"
    with pytest.raises(
        m2ib.SettingError, match="method 'heavy' is not defined for text of the model 'molecules': it weighs"
    ):
        m2ib.explain(model, smiles=CHLORIDE, text="chloride", method="heavy")


def test_what_was_saved_comes_back_with_its_renderer(
    model: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explanation = m2ib.explain(model, smiles=CHLORIDE, text="a chloride")
    folder = explanation.save(tmp_path / "saved")
    assert json.loads((folder / "manifest.json").read_text())["attributions"][0]["renderer"] == "molecule"
    loaded = m2ib.load_explanation(folder)
    assert loaded["smiles"].renderer.name == "molecule"
    assert loaded["smiles"].view == explanation["smiles"].view
    np.testing.assert_array_equal(loaded["smiles"].grid, explanation["smiles"].grid)
    pages = [
        each.to_html(tmp_path / name).read_text()
        for each, name in ((explanation, "a.html"), (loaded, "b.html"))
    ]
    assert pages[0] == pages[1]

    without = Registry.discover(point for point in _points() if point.name != "molecules")
    monkeypatch.setattr(m2ib.registry.discovery, "_default", without)
    with pytest.warns(
        m2ib.M2IBWarning, match="there is no renderer 'molecule' here; its maps are shown as plain values"
    ) as told:
        plain = m2ib.load_explanation(folder)
    assert len(told) == 1
    np.testing.assert_array_equal(plain["smiles"].grid, explanation["smiles"].grid)
    assert '<figure class="values"' in plain.to_html(tmp_path / "c.html").read_text()


def _points() -> Iterator[Any]:
    from importlib.metadata import entry_points

    yield from entry_points(group="m2ib")


# Evaluated.


def write_table(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "smiles", "text"), *((n, *row) for n, row in enumerate(rows))])
    return path


def cosine_of(model: m2ib.Model, symbols: list[str], bonds: torch.Tensor, target: torch.Tensor) -> float:
    """Of a molecule whose atoms were changed."""
    known = sys.modules["m2ib_molecules.model"].SYMBOLS
    inputs = {"atoms": torch.tensor([[known.index(symbol) for symbol in symbols]]), "bonds": bonds}
    with torch.no_grad():
        return float(cosine_similarity(model.encoders["smiles"].embed(inputs), target))


def test_evaluate_hides_atoms_as_the_plugin_says(
    model: m2ib.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "pairs.csv", [*PAIRS, ("CC(", "a broken one")])
    words = f"evaluate --model molecules --dtype float64 --data {table} --methods m2ib rise --seeds 0 --curve-steps 50 --metrics"
    words += f" drop deletion insertion mass --out {tmp_path / 'out'} settings.masks=64"
    assert main(words.split()) == 0
    assert "smiles" in capsys.readouterr().out
    results = read_results(tmp_path / "out")
    assert [place for place, reason in results.notes if "the branch is left open" in reason] == [
        "4"
    ]  # its id
    side = next(each for each in results.tables if each.modality == "smiles")
    found = {name: side.cells["m2ib", name].found.mean for name in ("drop", "deletion", "insertion")}
    drops, gone, come = [], [], []
    for smiles, text in PAIRS:
        grid = m2ib.explain(model, smiles=smiles, text=text)["smiles"].grid
        inputs = model.preprocess("smiles", [smiles])
        with torch.no_grad():
            target = model.encoders["text"].embed(model.preprocess("text", [text]))
        symbols = model.item("smiles", smiles).view["atoms"]
        ranked = np.argsort(-grid)
        original = cosine_of(model, symbols, inputs["bonds"], target)
        kept = [s if value > np.median(grid) else "*" for s, value in zip(symbols, grid, strict=True)]
        drops.append(100 * max(0.0, original - cosine_of(model, kept, inputs["bonds"], target)) / original)
        curves: list[list[float]] = [[], []]
        for count in range(len(symbols) + 1):
            for curve, out in zip(curves, (ranked[:count], ranked[count:]), strict=True):
                left = ["*" if n in out else s for n, s in enumerate(symbols)]
                curve.append(cosine_of(model, left, inputs["bonds"], target))
        gone.append(np.trapezoid(curves[0], dx=1 / len(symbols)))
        come.append(np.trapezoid(curves[1], dx=1 / len(symbols)))
    assert found == pytest.approx(
        {"drop": np.mean(drops), "deletion": np.mean(gone), "insertion": np.mean(come)}, rel=1e-6
    )
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<figure class="molecule"' in page
    uniform = side.cells["uniform", "deletion"].found.mean
    assert found["deletion"] < uniform


def test_evaluate_takes_the_method_of_the_plugin(
    model: m2ib.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "pairs.csv", PAIRS)
    words = (
        f"evaluate --model molecules --dtype float64 --data {table} --methods heavy --sides smiles --seeds 0"
    )
    assert main(f"{words} --metrics drop --out {tmp_path / 'out'}".split()) == 0
    side = read_results(tmp_path / "out").tables[0]
    drops = []
    for smiles, text in PAIRS:
        (heavy, _) = m2ib.explain(model, ("smiles", smiles), ("smiles", smiles), method="heavy")
        with torch.no_grad():
            target = model.encoders["text"].embed(model.preprocess("text", [text]))
        symbols, bonds = heavy.view["atoms"], model.preprocess("smiles", [smiles])["bonds"]
        median = np.median(heavy.grid)
        above = heavy.grid > median if (heavy.grid > median).any() else heavy.grid >= median
        original = cosine_of(model, symbols, bonds, target)
        left = cosine_of(model, [s if k else "*" for s, k in zip(symbols, above, strict=True)], bonds, target)
        drops.append(100 * max(0.0, original - left) / original)
    assert side.cells["heavy", "drop"].found.mean == pytest.approx(np.mean(drops), rel=1e-6)


def test_tune_finds_settings_for_them(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "pairs.csv", PAIRS * 2)
    words = f"tune --model molecules --data {table} --side smiles --metric deletion --pairs 4 --held-out 4 --out {tmp_path / 'out'}"
    assert main([*words.split(), "grid.layer=[0,1]", "grid.beta=[0.1,1.0]", "grid.variance=[1.0]"]) == 0
    found = yaml.safe_load((tmp_path / "out" / "settings.yaml").read_text())
    assert found["model"] == "molecules"
    assert (found["layer"]["smiles"], found["beta"]["smiles"]) in product((0, 1), (0.1, 1.0))
    again = ["--smiles", CHLORIDE, "--text", "a chloride", "--out", str(tmp_path / "report")]
    assert main(["explain", "--config", str(tmp_path / "out" / "settings.yaml"), *again]) == 0
    (saved,) = (tmp_path / "report").glob("**/manifest.json")
    used = m2ib.load_explanation(saved.parent)["smiles"].settings
    assert (used["layer"], used["beta"]) == (found["layer"]["smiles"], found["beta"]["smiles"])
