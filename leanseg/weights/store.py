"""Finding bundles, offline: folders named by the user first, then those that came with LeanSeg."""

from __future__ import annotations

import os
from pathlib import Path

from leanseg.catalog import SYSTEMS
from leanseg.errors import BundleError, LeanSegError, UnknownNameError
from leanseg.weights.bundle import CARD_FILE, Bundle, read_bundle

SHIPPED_MODELS = Path(__file__).parents[2] / "Resources" / "Models"
"""Beside the package: a checkout and the installed Slicer extension (flat folder of modules) both keep it there."""


def search_path() -> tuple[Path, ...]:
    """Folders that hold bundles, first match wins: LEANSEG_MODELS (several, separated as in PATH), SHIPPED_MODELS."""
    named = [Path(part) for part in os.environ.get("LEANSEG_MODELS", "").split(os.pathsep) if part]
    return (*named, SHIPPED_MODELS)


def bundle_folders() -> list[Path]:
    """Every folder with a card on the search path, by name, whether it can be read or not."""
    found: dict[str, Path] = {}
    for folder in search_path():
        for card in folder.glob(f"[!.]*/{CARD_FILE}"):  # an export in progress begins with a dot
            found.setdefault(card.parent.name, card.parent)
    return [found[name] for name in sorted(found)]


def list_bundles() -> list[Bundle]:
    """Every bundle on the search path, by folder name; a damaged one raises BundleError only when it is asked for."""
    bundles = []
    for folder in bundle_folders():
        try:
            bundles.append(read_bundle(folder))
        except BundleError:
            continue
    return bundles


def find_bundle(model: str) -> Bundle:
    """A bundle by id or folder name on the search path, or by the path of its folder.

    Raises:
        UnknownNameError: there is none; the nearest id is suggested.
        LeanSegError: it is the id of a system; its models, or the recipe of one, are named.
        BundleError: it is there but its card is damaged or newer.
    """
    path = Path(model)
    if (path / CARD_FILE).is_file() or (len(path.parts) > 1 and path.is_dir()):
        return read_bundle(path)
    for folder in bundle_folders():
        if folder.name == model:
            return read_bundle(folder)
    bundles = list_bundles()
    for bundle in bundles:
        if bundle.card.id == model:
            return bundle
    for system in SYSTEMS:
        if system.id == model and system.models:
            raise LeanSegError(f"{model} is a published system, not a model. Its models: {', '.join(system.models)}.")
        if system.id == model and system.recipes:
            recipe = system.recipes[0]
            raise LeanSegError(f"{model} is a published system without a bundle. Make one: leanseg train {recipe}.")
    raise UnknownNameError("model", model, (bundle.card.id for bundle in bundles))
