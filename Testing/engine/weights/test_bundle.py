import dataclasses
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from leanseg.errors import BundleError, OutputError
from leanseg.weights.bundle import Bundle, file_card, read_bundle, write_bundle
from Testing.engine.tiny import CARD, dark_is_lesion, write_tiny_bundle


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_read_and_vouched_for(tmp_path: Path) -> None:
    written = write_bundle(CARD, {"fp32": b"graph", "int8": b"small"}, b"weights", tmp_path / "new" / "tiny")
    assert written == read_bundle(tmp_path / "new" / "tiny")
    assert written.graph("fp32") == b"graph" and written.graph("int8") == b"small" and written.weights() == b"weights"
    assert sorted(contents(written.folder)) == ["card.json", "tiny.safetensors", "tiny_fp32.onnx", "tiny_int8.onnx"]
    assert written.card.graphs["int8"].bytes == 5
    assert written.card.graphs["int8"].sha256 == hashlib.sha256(b"small").hexdigest()


def test_nothing_but_the_bundle_is_left_beside_it(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_precision_that_is_not_there_names_those_that_are(tiny_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"tiny has no int8 graph\. Choose one of: fp32"):
        tiny_bundle.graph("int8")


@pytest.mark.parametrize("name", ["tiny_fp32.onnx", "tiny.safetensors"])
def test_one_changed_byte_is_noticed(tiny_bundle: Bundle, name: str) -> None:
    path = tiny_bundle.folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} is damaged: its SHA-256 differs. Restore"):
        tiny_bundle.weights() if name.endswith("safetensors") else tiny_bundle.graph("fp32")


def test_a_missing_graph_is_named(tiny_bundle: Bundle) -> None:
    (tiny_bundle.folder / "tiny_fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks tiny_fp32.onnx \(No such file or directory\). Restore"):
        tiny_bundle.graph("fp32")


def test_a_folder_without_card_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: card.json: No such file or directory\. Give"):
        read_bundle(tmp_path)


def test_a_card_that_is_not_text_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BundleError, match=r"is not a bundle: card\.json: it is not UTF-8 text"):
        read_bundle(tmp_path)


def test_a_bundle_is_replaced_with_the_files_that_only_the_old_card_names(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_bundle(CARD, {"fp32": b"graph", "int8": b"small"}, b"weights", folder)
    (folder / "README.md").write_text("of a person")
    write_bundle(replace(CARD, title="second"), {"fp32": b"other"}, b"weights", folder)
    assert sorted(contents(folder)) == ["README.md", "card.json", "tiny.safetensors", "tiny_fp32.onnx"]
    assert read_bundle(folder).card.title == "second" and read_bundle(folder).graph("fp32") == b"other"


def test_the_tokenizer_of_the_old_card_goes_with_it(tmp_path: Path) -> None:
    folder, words = tmp_path / "tiny", b'{"model": {}}'
    card = replace(CARD, engine_config={"tokenizer": dataclasses.asdict(file_card("tokenizer.json", words))})
    bundle = write_bundle(card, {"fp32": b"graph"}, b"weights", folder, words)
    assert bundle.card.tokenizer == file_card("tokenizer.json", words) and contents(folder)["tokenizer.json"] == words
    write_bundle(CARD, {"fp32": b"graph"}, b"weights", folder)
    assert sorted(contents(folder)) == ["card.json", "tiny.safetensors", "tiny_fp32.onnx"]


def test_files_of_a_folder_that_is_no_bundle_stay(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    write_tiny_bundle(folder)
    assert (folder / "thesis.txt").read_text() == "years of work" and read_bundle(folder).card.id == "tiny"


def test_a_place_that_cannot_be_a_folder_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        with pytest.raises(OutputError, match=r"bundle .*file.* cannot be written: .*Choose another folder"):
            write_tiny_bundle(folder)
    assert contents(tmp_path) == {"file": b"mine"}


def test_the_card_is_put_in_place_last_because_it_vouches_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    replace_file = os.replace

    def recorded(source: Path, target: Path) -> None:
        names.append(target.name)
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", recorded)
    write_tiny_bundle(tmp_path / "tiny")
    assert len(names) == 3 and names[-1] == "card.json"


def test_a_disk_that_fills_up_leaves_the_old_bundle(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(tiny_bundle.folder)
    write_bytes = Path.write_bytes

    def full_at_the_card(path: Path, data: bytes) -> int:
        if path.name == "card.json":
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_at_the_card)
    with pytest.raises(OutputError, match="No space left on device"):
        write_tiny_bundle(tiny_bundle.folder, {"fp32": dark_is_lesion(gain=5)}, title="second")
    assert contents(tiny_bundle.folder) == before
    assert [path.name for path in tiny_bundle.folder.parent.iterdir()] == ["tiny"]
