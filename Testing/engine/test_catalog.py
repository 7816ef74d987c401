from pathlib import Path

import pytest

from leanseg.catalog import SYSTEMS, System, find_system
from leanseg.errors import UnknownNameError
from leanseg.published import PUBLISHED, SOURCES

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "leanseg" / "training" / "recipes"
MODULES = {"UltrasoundKD", "DynamicBrainSeg", "TextGuidedSeg"}

WORKING = [pytest.param(system, id=system.id) for system in SYSTEMS if system.state == "works"]


def test_names_are_unique() -> None:
    names = [name.casefold() for system in SYSTEMS for name in (system.id, *system.aliases)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.id)
def test_ids_are_snake_case_and_modules_are_ours(system: System) -> None:
    assert system.id.isidentifier()
    assert system.id == system.id.lower()
    assert set(system.module.split(", ")) <= MODULES
    assert system.paper.startswith(("doi:", "arXiv:"))


@pytest.mark.parametrize("name", ["t2kd_attention_unet", "T2KD", "t2kd", "T²KD"])
def test_a_system_is_found_by_id_and_alias_whatever_the_case(name: str) -> None:
    assert find_system(name).id == "t2kd_attention_unet"


def test_both_names_of_fremae_lead_to_it() -> None:
    assert find_system("FreMIM") is find_system("FreMAE".lower())


def test_a_misspelled_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no system named 'med_dannet'\. Did you mean 'med_danet'\?"):
        find_system("med_dannet")


def test_a_name_like_no_other_lists_all() -> None:
    with pytest.raises(UnknownNameError, match=r"Known: agln, .*trans_bts_v2"):
        find_system("zzzz")


@pytest.mark.parametrize("system", WORKING)
def test_what_works_has_home_tests_and_recipes(system: System) -> None:
    assert system.home
    assert system.tests
    missing = [file for file in (*system.home, *system.tests) if not (ROOT / file).is_file()]
    assert missing == []
    assert [name for name in system.recipes if not (RECIPES / f"{name}.toml").is_file()] == []


@pytest.mark.parametrize("system", WORKING)
def test_what_works_has_its_models(system: System) -> None:
    cards = [ROOT / "Resources" / "Models" / model / "card.json" for model in system.models]
    assert [str(card.relative_to(ROOT)) for card in cards if not card.is_file()] == []


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.id)
def test_every_system_says_what_is_published_and_how_ours_differs(system: System) -> None:
    assert system.published.differs.endswith(".")
    assert all(figure.source in SOURCES and figure.what and figure.value for figure in system.published.figures)
    assert system.published.figures or "could not be read" in system.published.differs


def test_nothing_is_published_of_a_system_that_is_not_there() -> None:
    assert list(PUBLISHED) == [system.id for system in SYSTEMS]


def test_every_recipe_belongs_to_a_system() -> None:
    named = {name for system in SYSTEMS for name in system.recipes}
    assert {path.stem for path in RECIPES.glob("*.toml")} == named
