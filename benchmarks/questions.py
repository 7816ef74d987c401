"""Question answering in figures: accuracy of each fusion over seeds, of a trained run on any part, and speed of use.

    python benchmarks/questions.py accuracy RUNS --data DIR [--seeds 0 1 2] [--part vqa_rad:test] [--json R.json]
    python benchmarks/questions.py run RUN --data DIR --part vqa_rad:test busi:test ... [--json R.json]
    python benchmarks/questions.py model MODEL --data DIR --part vqa_rad:test busi:test ... [--card] [--json R.json]
    python benchmarks/questions.py speed MODEL [--json R.json]

RUNS holds, for each seed N, `stagewise_sN`, `joint_sN`, `last_sN` and `none_sN` (the question alone), trained as
`leanseg/training/recipes/mf2_mvqa_ablation.toml` says. Mean and sample standard deviation over the seeds; the last
column is stagewise - joint, seed by seed. `ceiling` is the fraction of the questions whose answer occurs in training:
no closed vocabulary can answer the others. `model` measures a bundle as it is used, with its graphs and the reading of
questions: `told` is the fraction that gets an answer and not "I cannot tell", `right_when_told` how many of these are
right; accuracy counts the most probable answer in any case. `--card` writes the figures into its card. `speed`: loads,
a picture, and a new question about it, the median of 9.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from leanseg.api import Model, load_engine
from leanseg.errors import LeanSegError
from leanseg.inference.question_answering import QuestionAnsweringConfig, QuestionAnsweringEngine
from leanseg.phantom import ultrasound_phantom
from leanseg.question_session import QuestionSession
from leanseg.training.answer_metrics import answer_figures
from leanseg.training.data.question_parts import QuestionSet, load_question_set
from leanseg.training.data.questions import Question
from leanseg.training.question_answering import checked, figures_of
from leanseg.training.question_vocabulary import Vocabulary
from leanseg.training.recipe import load_recipe
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import rewrite_card

SYSTEM = "mf2_mvqa"
KINDS = ("open", "closed", "overall")
FUSIONS = ("stagewise", "joint", "last", "none")
REPEATS = 9
GENERATED = "all generated"
Figures = dict[str, dict[str, float]]


def figures_of_run(run: Path, parts: dict[str, QuestionSet]) -> Figures:
    """By part: accuracy of open, closed and all questions, BLEU-1, number, and ceiling."""
    network, vocabulary = checked(load_run(run)[1]), Vocabulary.load(run)
    result = {}
    for name, asked in parts.items():
        questions = [question for _, question in asked.flat]
        known = sum(question.answer in vocabulary.answers for question in questions)
        figures = figures_of(network, vocabulary, asked)
        result[name] = {**figures, "ceiling": known / len(questions), "n": float(len(questions))}
    return result


def figures_of_model(model: Model, parts: dict[str, QuestionSet]) -> Figures:
    """Likewise, of a bundle in use; a question that is refused gets no answer."""
    engine = model.engine
    if not isinstance(engine, QuestionAnsweringEngine):
        raise LeanSegError(f"{model.card.id} answers no questions. Give a model that does, e.g. {SYSTEM}.")
    result, generated = {}, []
    for name, asked in parts.items():
        rows, owner, tokens = [], -1, np.zeros(0, np.float32)
        for n, question in asked.flat:
            if n != owner:
                owner, tokens = n, engine.look(asked.images[n].float().numpy())
            try:
                read = engine.read(question.texts[0])
                answers = engine.reply(tokens, read).answers
                sureness = 0.0 if read.unknown else float(answers.max())  # then it cannot tell, however sure it is
            except LeanSegError:
                answers, sureness = np.zeros(len(engine.config.answers), np.float32), 0.0
            said = engine.config.answers[int(answers.argmax())] if answers.any() else ""
            rows.append((question, said, sureness))
        result[name] = _in_use(rows, engine.config)
        generated += rows if not name.startswith("vqa_rad") else []
    return result | ({GENERATED: _in_use(generated, engine.config)} if generated else {})


def _in_use(rows: list[tuple[Question, str, float]], config: QuestionAnsweringConfig) -> dict[str, float]:
    """Of questions with what was said to them and how surely."""
    asked, said = [question for question, _, _ in rows], [answer for _, answer, _ in rows]
    figures = answer_figures(said, [q.answer for q in asked], [q.is_closed for q in asked])
    told = [question.answer == answer for question, answer, p in rows if p >= config.confidence_threshold]
    counts = {
        "told": len(told) / len(rows),
        "right_when_told": sum(told) / len(told) if told else math.nan,
        "ceiling": sum(question.answer in config.answers for question in asked) / len(rows),
        "n": float(len(rows)),
    }
    return figures | counts


def write_into_card(model: Model, figures: Figures, command: str) -> None:
    """As `metrics.test` of the bundle's card."""
    bundle = model.bundle
    rounded = {part: {key: round(value, 4) for key, value in row.items()} for part, row in figures.items()}
    metrics = {**bundle.card.metrics, "test": {"command": command, **rounded}}
    rewrite_card(bundle, dataclasses.replace(bundle.card, metrics=metrics))


def accuracy(runs: Path, data: Path, seeds: list[int], part: str) -> Figures:
    """Mean and sd over the seeds, by fusion; and by how much stagewise is better than joint."""
    first = load_run(runs / f"{FUSIONS[0]}_s{seeds[0]}")[0]
    asked = load_question_set([part], data, first)
    by_seed = {
        fusion: [figures_of_run(runs / f"{fusion}_s{seed}", {part: asked})[part] for seed in seeds]
        for fusion in FUSIONS
    }
    rows = {fusion: _summary(some) for fusion, some in by_seed.items()}
    pairs = zip(by_seed["stagewise"], by_seed["joint"], strict=True)
    rows["stagewise - joint"] = _summary([{key: one[key] - other[key] for key in one} for one, other in pairs])
    return rows


def _summary(rows: list[dict[str, float]]) -> dict[str, float]:
    result = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        result[key] = statistics.fmean(values)
        result[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
    return result


def speed(model_id: str) -> dict[str, float]:
    """Seconds."""
    started = time.perf_counter()
    model = load_engine(model_id)
    load = time.perf_counter() - started
    image = ultrasound_phantom("benign", seed=1).image
    session = QuestionSession(model, image)
    return {
        "load": load,
        "picture": _median(lambda: QuestionSession(model, image)),
        "question": _median(lambda: session.ask("Is there a mass?")),
        "picture and question": _median(lambda: QuestionSession(model, image).ask("How many masses are there?")),
        "heat map": _median(lambda: session.ask("Is there a mass?").heat_map(0)),
    }


def _median(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _print(rows: dict[str, dict[str, float]]) -> None:
    columns = [key for key in next(iter(rows.values())) if not key.endswith("_sd")]
    table = Table("", *columns, box=None)
    for name, row in rows.items():
        shown = [f"{row[c]:.3f}" + (f" ± {row[f'{c}_sd']:.3f}" if f"{c}_sd" in row else "") for c in columns]
        table.add_row(name, *shown)
    Console(width=160, highlight=False).print(table)


def _accuracy(what: str, row: dict[str, float], seeds: int | None) -> list[str]:
    """What docs/systems.md says of a row: of some seeds, or of one run."""
    kinds = [kind for kind in KINDS if kind in row]
    shown = [f"{100 * row[k]:.1f}" + (f" ± {100 * row[f'{k}_sd']:.1f}" if (seeds or 0) > 1 else "") for k in kinds]
    number = f"n = {row['n']:.0f}" if seeds is None else f"n = {seeds} seed{'s' if seeds > 1 else ''}"
    return [f"{what}, accuracy {' / '.join(kinds)}, percent", f"{' / '.join(shown)}; {number}"]


def _speed(model: str, row: dict[str, float]) -> list[str]:
    load, picture, question = (1000 * row[name] for name in ("load", "picture", "question"))
    return [f"{model}, loading / picture / new question, ms", f"{load:.0f} / {picture:.1f} / {question:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    names = ("accuracy", "run", "model", "speed")
    of_runs, of_run, of_model, of_speed = (verbs.add_parser(name) for name in names)
    of_runs.add_argument("runs", type=Path)
    of_runs.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    of_runs.add_argument("--part", default="vqa_rad:test")
    of_run.add_argument("run", type=Path)
    of_model.add_argument("model")
    of_model.add_argument("--card", action="store_true", help="write the figures into the card")
    for one in (of_run, of_model):
        one.add_argument("--part", nargs="+", default=["vqa_rad:test"])
    of_speed.add_argument("model")
    for one in (of_runs, of_run, of_model, of_speed):
        one.add_argument("--json", type=Path, help="also write the figures here, as docs/systems.py reads them")
        if one is not of_speed:
            one.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    result: Figures
    if arguments.verb == "accuracy":
        result = accuracy(arguments.runs, arguments.data, arguments.seeds, arguments.part)
        seeds = " ".join(map(str, arguments.seeds))
        said = f"accuracy RUNS --data DIR --seeds {seeds} --part {arguments.part}"
        page = [_accuracy(f"{name}, {arguments.part}", row, len(arguments.seeds)) for name, row in result.items()]
    elif arguments.verb == "run":
        recipe = load_run(arguments.run)[0]
        parts = {part: load_question_set([part], arguments.data, recipe) for part in arguments.part}
        result = figures_of_run(arguments.run, parts)
        said = f"run RUN --data DIR --part {' '.join(arguments.part)}"
        page = [_accuracy(part, row, None) for part, row in result.items()]
    elif arguments.verb == "model":
        model = load_engine(arguments.model)
        recipe = load_recipe(model.card.training["stages"][-1]["recipe"]["id"])
        parts = {part: load_question_set([part], arguments.data, recipe) for part in arguments.part}
        result = figures_of_model(model, parts)
        said = f"model {model.card.id} --data DIR --part {' '.join(arguments.part)}"
        page = [_accuracy(part, row, None) for part, row in result.items()]
        if arguments.card:
            write_into_card(model, result, f"python benchmarks/questions.py {said}")
    else:
        result = {arguments.model: speed(arguments.model)}
        said = f"speed {arguments.model}"
        page = [_speed(model, row) for model, row in result.items()]
    _print(result)
    if arguments.json is not None:
        command = f"python benchmarks/questions.py {said}"
        values = {"command": command, "systems": {SYSTEM: page}, "results": result}
        arguments.json.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
