"""What each setting that sharpens a map gains, one at a time, on scenes: python tests/benchmarks/sharper.py"""

from __future__ import annotations

import argparse
from typing import Any

import m2ib
from m2ib.benchmark import SETTINGS, run_scenes

COLUMNS = ("pointing", "wrong", "mass", "iou", "deletion_ratio", "seconds")


def variants(sharp: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, the settings: the paper's method at the preset's layer, each change alone, and all together."""
    layer = {"layer": sharp["layer"]} if "layer" in sharp else {}
    shifts, smooth, beta = sharp["shifts"], sharp["smooth"], sharp.get("beta", 0.1)
    return {
        "m2ib, the defaults": {},
        "at the preset's layer": layer,
        '+ granularity="token"': layer | {"granularity": "token"},
        f'+ granularity="token", beta={beta:.3g}': layer | {"granularity": "token", "beta": beta},
        f"+ beta={beta:.3g}": layer | {"beta": beta},
        "+ standardize=True": layer | {"standardize": True},
        f"+ shifts={shifts}": layer | {"shifts": shifts},
        f"+ smooth={smooth}": layer | {"smooth": smooth},
        "+ steps=20": layer | {"steps": 20},
        "+ samples=2": layer | {"samples": 2},
        '+ samples=2, noise="antithetic"': layer | {"samples": 2, "noise": "antithetic"},
        'preset="sharp"': {"preset": "sharp"},
        'preset="sharp", smooth=0': {"preset": "sharp", "smooth": 0},
    }


def main() -> None:
    """Print a table for each modality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modalities", nargs="+", default=["image", "audio"])
    parser.add_argument("--scenes", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test", help="test, or tune for choosing settings")
    parser.add_argument("--checkpoint", help="default: the packaged weights")
    given = parser.parse_args()
    model = m2ib.load_model("imagebind-tiny", checkpoint=given.checkpoint, device="cpu")
    for modality in given.modalities:
        sharp = {**m2ib.PRESETS["sharp"], **model.encoder(modality).presets.get("sharp", {})}
        table = {name: {"method": "m2ib", **settings} for name, settings in variants(sharp).items()}
        found = run_scenes(
            model,
            scenes=given.scenes,
            seeds=[given.seed],
            methods=(*table, "rise"),
            settings={**table, "rise": SETTINGS["rise"]},
            modalities=[modality],
            split=given.split,
            show_progress=False,
        ).figures
        print(f"\n{modality}, {given.scenes} scenes: | {' | '.join(COLUMNS)} |")
        for name in (*table, "rise"):
            values = [found[modality, name, "", column].mean for column in COLUMNS]
            print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main()
