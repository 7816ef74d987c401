import numpy as np
import pytest

from leanseg.errors import UnknownNameError
from leanseg.segmentation import Segment, Segmentation
from leanseg.volume import Volume, VolumeGeometry

OUTER, MIDDLE, INNER = (Segment(name, name, value, (1, 0, 0)) for name, value in (("ED", 2), ("NCR", 1), ("ET", 3)))


def a_segmentation() -> Segmentation:
    geometry = VolumeGeometry((1, 1, 5))
    p = Volume(np.zeros((3, 1, 1, 5), np.float32), geometry)
    labelmap = np.array([[[0, 2, 1, 3, 2]]], np.uint8)
    return Segmentation(labelmap, (OUTER, MIDDLE, INNER), geometry, p, p.with_array(p.array[:1]))


def test_nested_masks_hold_what_lies_inside() -> None:
    masks = [mask[0, 0].astype(int).tolist() for mask in a_segmentation().nested_masks()]
    assert masks == [[0, 1, 1, 1, 1], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]]


def test_a_mask_holds_its_own_voxels_only() -> None:
    assert a_segmentation().mask("NCR")[0, 0].tolist() == [False, False, True, False, False]
    with pytest.raises(UnknownNameError, match="no segment named 'WT'"):
        a_segmentation().mask("WT")
