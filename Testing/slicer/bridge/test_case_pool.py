"""The images that can be annotated next: which volumes are meant, by ids that outlive the scene; thumbnails."""

import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import slicer

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.case_pool import THUMBNAIL_SIDE, FolderPool, VolumesPool, thumbnailOf, withDone
from leanseg.slicer_bridge.nodes import scalarVolumeNode
from leanseg.slicer_bridge.parameters import Parameters
from leanseg.volume import VolumeGeometry


def add(name):
    return scalarVolumeNode(name, np.arange(24, dtype=np.uint8).reshape(2, 3, 4), VolumeGeometry((2, 3, 4)))


def suggestions(count):
    """Of so many volumes, the last first."""
    cases = [
        SimpleNamespace(
            id=f"volume {count - n}",
            rank=n + 1,
            is_suggested=True,
            uncertainty=0.5,
            coverage=0.5,
            slice_k=1,
            reason="?",
        )
        for n in range(count)
    ]
    return SimpleNamespace(cases=cases, models=("one",), measure="entropy")


class TestVolumesPool(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.parameters = Parameters("LeanSegTestCases", {"kept": ""})

    def test_each_id_leads_to_its_volume_also_after_another_ranking(self):
        first, second = add("first"), add("second")
        pool = VolumesPool(self.parameters)
        self.assertEqual(len(pool.images()[0]), 2)
        pool.take(suggestions(2))
        cases = [one.id for one in pool.state.ranking]
        self.assertEqual([pool.node(case) for case in cases], [second, first])
        self.assertEqual(pool.state.next_id, cases[0])
        pool.state = withDone(pool.state, cases[0], True)
        self.assertEqual(pool.state.next_id, cases[1])
        third = add("third")
        self.assertEqual(len(pool.images()[0]), 2, "what is done is left out")
        pool.take(suggestions(2))
        self.assertEqual([pool.node(one.id) for one in pool.state.ranking], [third, first])
        self.assertEqual(pool.state.ranking[1].id, cases[1], "it keeps its id")
        self.assertTrue(pool.isNode(cases[0], second))

    def test_what_was_kept_is_there_again_without_what_has_gone(self):
        add("first")
        second = add("second")
        pool = VolumesPool(self.parameters)
        pool.images()
        pool.take(suggestions(2))
        text = pool.save()
        self.assertEqual(VolumesPool(self.parameters, text).state, pool.state)
        slicer.mrmlScene.RemoveNode(second)
        again = VolumesPool(self.parameters, text)
        self.assertEqual([again.name(one.id) for one in again.state.ranking], ["first"])
        for damaged in ("{", "[]", '{"ranking": [{"id": 1}]}', '{"done": 3}'):
            with self.subTest(damaged):
                self.assertEqual(VolumesPool(self.parameters, damaged).state.ranking, ())

    def test_a_volume_that_cannot_be_used_is_named(self):
        add("sound")
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        images, unusable = VolumesPool(self.parameters).images()
        self.assertEqual(len(images), 1)
        [(name, reason)] = unusable
        self.assertEqual(name, "empty")
        self.assertIn("has no voxels", reason)


class TestFolderPool(unittest.TestCase):
    def test_a_file_that_is_gone_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            pool = FolderPool(Path(folder))
            with self.assertRaisesRegex(LeanSegError, "gone.nrrd is gone"):
                pool.node("gone.nrrd")


class TestThumbnails(unittest.TestCase):
    def test_a_slice_becomes_a_small_gray_picture(self):
        array = np.zeros((2, 300, 200), np.int16)
        array[1, 100:, :] = 900
        picture = thumbnailOf(array, 1)
        self.assertLessEqual(max(picture.shape), THUMBNAIL_SIDE)
        self.assertEqual((picture.dtype, picture[0, 0], picture[-1, 0]), (np.uint8, 0, 255))

    def test_none_where_there_is_no_such_slice_or_file(self):
        self.assertIsNone(thumbnailOf(np.zeros((1, 2, 2)), 1))
        self.assertIsNone(thumbnailOf(Path("gone.nrrd"), 0))
        self.assertIsNone(thumbnailOf(None, 0))
