import os
import shutil
from pathlib import Path

import pytest

from leanseg.errors import BundleError, LeanSegError, UnknownNameError
from leanseg.weights import store
from leanseg.weights.store import find_bundle, list_bundles, search_path
from Testing.engine.tiny import write_tiny_bundle


def test_the_folders_of_the_user_come_before_those_that_are_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, shipped = (tmp_path / name for name in ("first", "second", "shipped"))
    monkeypatch.setenv("LEANSEG_MODELS", os.pathsep.join([str(first), "", str(second)]))
    monkeypatch.setattr(store, "SHIPPED_MODELS", shipped)
    assert search_path() == (first, second, shipped)
    for folder in (shipped, second, first):
        write_tiny_bundle(folder / "tiny", title=folder.name)
        assert find_bundle("tiny").card.title == folder.name
        assert [bundle.card.title for bundle in list_bundles()] == [folder.name]


def test_without_the_variable_only_the_shipped_ones_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEANSEG_MODELS", raising=False)
    assert search_path() == (store.SHIPPED_MODELS,)
    assert store.SHIPPED_MODELS.parts[-2:] == ("Resources", "Models")


def test_bundles_are_listed_by_name_from_all_folders(models_folder: Path, tmp_path: Path) -> None:
    write_tiny_bundle(store.SHIPPED_MODELS / "another", id="another")
    write_tiny_bundle(models_folder / "zebra", id="zebra")
    assert [bundle.card.id for bundle in list_bundles()] == ["another", "tiny", "zebra"]


def test_damaged_bundles_and_half_exported_ones_do_not_hide_the_others(models_folder: Path) -> None:
    for name in ("damaged", "newer", "empty", ".tiny-being-exported"):
        (models_folder / name).mkdir()
    (models_folder / "damaged" / "card.json").write_text("{")
    (models_folder / "newer" / "card.json").write_text('{"format": 99}')
    shutil.copy(models_folder / "tiny" / "card.json", models_folder / ".tiny-being-exported")
    (models_folder / "readme.txt").write_text("not a bundle")
    assert [bundle.folder.name for bundle in list_bundles()] == ["tiny"]


@pytest.mark.parametrize(("text", "message"), [("{", "damaged"), ('{"format": 99}', "Update LeanSeg")])
def test_a_damaged_bundle_says_so_when_it_is_asked_for(models_folder: Path, text: str, message: str) -> None:
    write_tiny_bundle(store.SHIPPED_MODELS / "tiny")
    (models_folder / "tiny" / "card.json").write_text(text)
    with pytest.raises(BundleError, match=message):
        find_bundle("tiny")


def test_a_model_is_found_by_id_in_a_folder_of_another_name(models_folder: Path) -> None:
    (models_folder / "tiny").rename(models_folder / "renamed")
    assert find_bundle("tiny").folder == find_bundle("renamed").folder == models_folder / "renamed"


def test_a_model_is_found_by_the_path_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_bundle(tmp_path / "elsewhere" / "tiny")
    assert find_bundle(str(tmp_path / "elsewhere" / "tiny")).card.id == "tiny"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_bundle("tiny").card.id == "tiny"


def test_a_folder_without_card_is_told_apart_from_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        find_bundle(str(tmp_path))


def test_an_unknown_model_suggests_the_nearest(models_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"There is no model named 'tinny'\. Did you mean 'tiny'"):
        find_bundle("tinny")
    with pytest.raises(UnknownNameError, match=r"There is no model named 'something'\. Known: tiny\."):
        find_bundle("something")
    with pytest.raises(UnknownNameError, match="no model named 'no/such/folder'"):
        find_bundle("no/such/folder")


def test_without_any_model_the_list_of_known_ones_is_none(models_folder: Path) -> None:
    shutil.rmtree(models_folder)
    assert list_bundles() == []
    with pytest.raises(UnknownNameError, match="Known: none"):
        find_bundle("tiny")


def test_the_id_of_a_system_names_its_models(models_folder: Path) -> None:
    with pytest.raises(LeanSegError, match=r"segresnet is a published system without a bundle\. .* train segresnet"):
        find_bundle("segresnet")
    with pytest.raises(LeanSegError, match=r"is a published system, not a model\. Its models: t2kd_busi"):
        find_bundle("t2kd_attention_unet")
