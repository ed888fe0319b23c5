"""The measures of an evaluation that are about a method and not about one map: agreement of seeds, AUC of matched pairs, the sanity
check and ROAR+."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.targets import Targets
from m2ib.errors import M2IBError, StorageError
from m2ib.evaluation.cases import outlined
from m2ib.evaluation.checkpoint import PART
from m2ib.evaluation.fine_tune import Training, TrainingOutcome
from m2ib.evaluation.measures import ANOTHERS, MATCHED, SPECIFICITY
from m2ib.evaluation.prepared import PreparedPair, by_shape, embeddings
from m2ib.evaluation.roar import checkpoint_name, roar_plus, run_name, split
from m2ib.evaluation.sanity import Cascade, cascade
from m2ib.evaluation.sanity_figures import maps_figure
from m2ib.evaluation.store import Score, Store
from m2ib.evaluation.study import Study
from m2ib.evaluation.tasks import Run
from m2ib.folders import ResultFolder, open_folder
from m2ib.metrics import placements, rank_correlation
from m2ib.registry.foreign import plugin_code
from m2ib.registry.plan import Plan
from m2ib.renderers.plotting import write
from m2ib.results.files import write_files

ROAR = "roar"  # the folder of the trainings in an evaluation's
TRAININGS = "trainings"  # the kind of a folder that has nothing else
DRAWN = 2  # inputs whose maps are drawn, stage by stage


def agreement_of(store: Store, runs: Sequence[Run]) -> None:
    """Each seed's maps with the next seed's, written in one transaction."""
    with store.whole():
        for place, name in dict.fromkeys((place, name) for place, name, _ in runs):
            seeds = [seed for where, who, seed in runs if (where, who) == (place, name)]
            grids = {seed: store.grids(place, name, seed) for seed in seeds}
            numbers = store.numbers(place)
            for seed, following in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
                store.add_scores(
                    Score(
                        place,
                        name,
                        seed,
                        pair,
                        numbers[pair],
                        "rank-correlation",
                        rank_correlation(grid, grids[following][pair]),
                    )
                    for pair, grid in grids[seed].items()
                    if pair in grids[following]
                )


def matched_of(store: Store, runs: Sequence[Run]) -> None:
    """Of each input the share of all those with another pair's partner above which it stands with its own, written in one transaction."""
    with store.whole():
        for place, name, seed in runs:
            found, numbers = store.scores_of(place, name, seed), store.numbers(place)
            own, anothers = (
                {
                    pair: z
                    for pair, scores in found.items()
                    if not math.isnan(z := scores.get(metric, math.nan))
                }
                for metric in (SPECIFICITY, ANOTHERS)
            )
            shares = placements([*own.values()], [*anothers.values()])
            store.add_scores(
                Score(place, name, seed, pair, numbers[pair], MATCHED, float(share))
                for pair, share in zip(own, shares, strict=True)
            )


def sanity_of(
    model: Model,
    store: Store,
    study: Study,
    place: int,
    plans: Mapping[str, Plan],
    pairs: Sequence[PreparedPair],
    folder: ResultFolder,
) -> None:
    """Cascading random weights under each method, those that are not done yet, and all of them on one picture.

    pairs  of which those are taken whose inputs at ``place`` share a batch with the first's
    """
    encoder = model.encoder(pairs[0].pair.inputs[place][0])
    chosen = [pairs[number] for number in by_shape(encoder, [each.items[place] for each in pairs])[0]]
    todo = [name for name in plans if not store.is_done(_unit(place, name, study))]
    if todo:
        with model.running():
            modalities = [modality for modality, _ in pairs[0].pair.inputs]
            found = embeddings(model, modalities[1 - place], 1 - place, chosen)
            targets = Targets.of(model, found, model.similarity.leads(modalities, place))
    for name in todo:
        about_all = (place, name, study.seeds[0], "")
        store.forget_failures([about_all])
        try:
            with plugin_code(f"the method {name!r}"):
                _cascade(model, store, study, place, name, plans[name], chosen, targets)
        except StorageError:
            raise
        except M2IBError as error:
            store.fail(about_all, f"sanity: {error}")
    _summary(model, store, place, plans, chosen, folder)


def _unit(place: int, name: str, study: Study) -> str:
    return f"sanity/{place}/{name}/{study.seeds[0]}"


def _cascade(
    model: Model,
    store: Store,
    study: Study,
    place: int,
    name: str,
    plan: Plan,
    chosen: Sequence[PreparedPair],
    targets: Targets,
) -> None:
    """Cascading random weights under one method, written in one transaction.

    chosen   pairs whose inputs at ``place`` can share a batch
    targets  of their other sides
    """
    modality = chosen[0].pair.inputs[place][0]
    items = [each.items[place] for each in chosen]
    found = cascade(
        model,
        modality,
        items,
        model.collate(modality, items),
        targets,
        {name: plan},
        seed=study.seeds[0],
        stages=study.sanity_stages,
    )
    last = found.correlations(name)[-1]
    verdict = found.verdict(name)
    curve = [1.0, *(stage.mean for stage in found.curve(name))]
    with store.whole():
        store.add_scores(
            Score(place, name, study.seeds[0], each.pair.id, each.number, "sanity", float(value))
            for each, value in zip(chosen, last, strict=True)
        )
        store.set_fact(
            f"sanity {place} {name}",
            {
                "stages": ["intact", *found.labels],
                "names": list(found.stages),
                "curve": [None if math.isnan(value) else value for value in curve],
                "ignores": verdict.ignores_the_model,
                "grids": [[grid.tolist() for grid in row[:DRAWN]] for row in found.grids(name)],
            },
        )
        store.set_done(_unit(place, name, study))


def _summary(
    model: Model,
    store: Store,
    place: int,
    plans: Mapping[str, Plan],
    chosen: Sequence[PreparedPair],
    folder: ResultFolder,
) -> None:
    """All methods' curves as one fact, and their maps as one picture."""
    facts = {name: fact for name in plans if (fact := store.fact(f"sanity {place} {name}")) is not None}
    if not facts:
        return
    first = next(iter(facts.values()))
    with store.whole():
        store.set_fact(
            f"sanity {place}",
            {
                "stages": first["stages"],
                "methods": {name: fact["curve"] for name, fact in facts.items()},
                "ignores": {name: fact["ignores"] for name, fact in facts.items()},
            },
        )
    shown = chosen[:DRAWN]
    maps = {
        name: [
            [
                outlined(model, each, place, plans[name], np.array(grid))
                for each, grid in zip(shown, row, strict=False)
            ]
            for row in fact["grids"]
        ]
        for name, fact in facts.items()
    }
    modality = shown[0].pair.inputs[place][0]
    drawn = Cascade(modality, tuple(first["names"]), maps, 0)
    picture = io.BytesIO()
    write(maps_figure(drawn, inputs=range(len(shown))), picture, 90)
    write_files(folder, {f"sanity-{place}-{modality}.png": picture.getvalue()})


def roar_of(
    model: Model,
    store: Store,
    study: Study,
    place: int,
    names: Sequence[str],
    pairs: Sequence[PreparedPair],
    folder: ResultFolder,
    originals: Path | None = None,
) -> None:
    """Fine-tune without what each method's maps call most important, and write the scores; each training is kept.

    pairs      all that can be used
    originals  where the trainings on whole pairs are kept; None: in the folder
    """
    training = Training(**study.roar)
    train, held = split(len(pairs), training)
    (first, _), (second, _) = pairs[0].pair.inputs

    def sides(numbers: Sequence[int]) -> tuple[list[Item], list[Item]]:
        return [pairs[n].items[0] for n in numbers], [pairs[n].items[1] for n in numbers]

    inside, shared = f"{ROAR}/", open_folder(originals, TRAININGS, force=True) if originals else None
    _own(folder if shared is None else shared, inside if shared is None else "", ["original"], study.seeds)
    _own(folder, inside, [run_name(place, (first, second)[place], name) for name in names], study.seeds)
    original: dict[int, TrainingOutcome] = {}
    for name in names:
        unit = f"roar/{place}/{name}/{','.join(map(str, study.seeds))}"
        if store.is_done(unit):
            continue
        known = store.grids(place, name, study.seeds[0])
        if any(pairs[n].pair.id not in known for n in train):
            store.fail((place, name, study.seeds[0], ""), "roar: a map that it needs could not be made")
            continue
        grids = {name: [known[pairs[n].pair.id] for n in train]}
        found = roar_plus(
            model,
            (first, second),
            place,
            sides(train),
            sides(held),
            grids,
            training,
            seeds=study.seeds,
            original=original,
            checkpoints=folder.path / ROAR,
            originals=originals,
        )
        original |= found.original
        metric = found.metric(name)
        with store.whole():
            store.add_scores(
                Score(place, name, int(str(seed)), "", -1, "roar", float(value))
                for seed, value in zip(metric.keys, metric.samples, strict=True)
            )
            store.set_fact(
                f"roar {place} {name}",
                {
                    str(seed): {"original": _plain(found.original[seed]), "corrupted": _plain(outcome)}
                    for seed, outcome in found.corrupted[name].items()
                },
            )
            store.set_done(unit)


def _own(folder: ResultFolder, inside: str, runs: Sequence[str], seeds: Sequence[int]) -> None:
    """List the files of trainings. Raises :class:`StorageError`."""
    files = [f"{inside}{checkpoint_name(run, seed)}" for run in runs for seed in seeds]
    folder.own(*(f"{file}{end}" for file in files for end in ("", PART)))


def _plain(outcome: TrainingOutcome) -> dict[str, Any]:
    return {"before": outcome.before, "losses": list(outcome.losses), "after": outcome.after}
