"""A 3-D network that was exported, from its folder to segments: nothing stands in between the panel and the bundle."""

import dataclasses
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import qt

import leanseg
from leanseg.slicer_bridge.nodes import volumeFromNode
from Testing.slicer.dynamic_brain_seg import brain_model
from Testing.slicer.dynamic_brain_seg.panel_test import SLICES, PanelTest
from Testing.slicer.dynamic_brain_seg.test_thorough import ON_THIS_COMPUTER, forgetTimes

WINDOW = (16, 32, 32)
NETWORK = {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}


def export(folder):
    """A tiny SegResNet with weights of chance, as `leanseg export` writes one that was trained."""
    import torch

    from leanseg.inference.sliding_window import SlidingWindowConfig
    from leanseg.networks import build_network
    from leanseg.processing.brain import BrainPreprocessingConfig
    from leanseg.training.export_volumes import window_graphs
    from leanseg.weights.bundle import write_bundle
    from Testing.engine.tiny import CARD

    torch.manual_seed(0)
    patches = np.random.default_rng(0).standard_normal((2, 4, *WINDOW)).astype(np.float32)
    graphs = window_graphs(build_network("segresnet", NETWORK).eval(), WINDOW, patches)
    seen = BrainPreprocessingConfig(size_ji=brain_model.SIZE, spacing_ji_mm=(2.0, 2.0), spacing_k_mm=4.0)
    card = dataclasses.replace(
        CARD,
        id=folder.name,
        system="segresnet",
        title="SegResNet of MONAI",
        inputs=brain_model.SEQUENCES,
        labels=brain_model.LABELS,
        engine="sliding_window",
        engine_config=dataclasses.asdict(SlidingWindowConfig(WINDOW, 0.25)),
        preprocessing=dataclasses.asdict(seen),
    )
    return write_bundle(card, graphs, b"no weights", folder)


class TestExportedVolumes(PanelTest):
    @classmethod
    def setUpClass(cls):
        try:
            import torch  # noqa: F401 - which exports
        except ImportError:
            raise unittest.SkipTest("exporting needs torch") from None
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.bundle = export(Path(folder.name) / "exported_3d")

    def useModel(self):
        """It is found beside those that come with LeanSeg."""
        forgetTimes(self.bundle.card.id, self.bundle.card.checksum("int8"))
        kind = "leanseg.slicer_bridge.environment_panel.EnvironmentPanel.isComplete"
        for patch in (
            mock.patch.dict(os.environ, {"LEANSEG_MODELS": str(self.bundle.folder.parent)}),
            mock.patch(kind, new_callable=mock.PropertyMock, return_value=True),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def testItIsTimedAndRunsAsOnTheCommandLine(self):
        self.pick(self.ui.modelSelector, "SegResNet of MONAI (exported_3d), thorough")
        self.assertEqual(self.ui.precisionSelector.currentText, "INT8")
        self.assertIn("s on this computer", self.ui.modelSelector.toolTip)
        known = f"{ON_THIS_COMPUTER}/{self.bundle.card.checksum('int8')}/{os.cpu_count()}"
        self.assertGreater(float(qt.QSettings().value(known)), 0)
        nodes = self.loadAndSegment()
        self.assertEqual(self.decisions(), ["volume"] * SLICES)
        images = {name: volumeFromNode(node) for name, node in nodes.items()}
        expected = leanseg.segment(images, str(self.bundle.folder))
        masks = dict(zip(("WT", "TC", "ET"), expected.nested_masks(), strict=True))
        self.assertTrue(0 < np.count_nonzero(masks["WT"]) < masks["WT"].size)
        for region, name in (("WT", "Whole tumor (WT)"), ("TC", "Tumor core (TC)"), ("ET", "Enhancing tumor (ET)")):
            np.testing.assert_array_equal(self.mask(name, nodes["flair"]), masks[region])
        self.assertIn("s a brain", self.ui.modelInfoLabel.text)
