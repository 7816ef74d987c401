"""The segment that the picture is cut around: one of the segmentation that the panel works on, or none."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _


class AskSegments:
    """Fills the combo box; its first entry is that no segment is meant."""

    def __init__(self, selector: Any, decision: Any) -> None:
        """`decision`: of the panel, with `segmentation`."""
        self._selector = selector
        self._decision = decision
        self._node: Any = None
        self.fill()

    @property
    def chosen(self) -> tuple[Any, str, str] | None:
        """Segmentation node, id and name; None: no segment is meant."""
        segmentId = self._selector.currentData
        if not segmentId:
            return None
        segment = self._node.GetSegmentation().GetSegment(segmentId)
        return self._node, segmentId, "" if segment is None else segment.GetName()

    def fill(self) -> None:
        """What there is now; the choice stays where it can. Quick where nothing has changed."""
        selector, node = self._selector, self._decision.segmentation
        entries = [(_("The whole view"), "")]
        if node is not None:
            segmentation = node.GetSegmentation()
            text, ids = _("Around {name}"), segmentation.GetSegmentIDs()
            entries += [(text.format(name=segmentation.GetSegment(one).GetName()), one) for one in ids]
        shown = [(selector.itemText(n), selector.itemData(n)) for n in range(selector.count)]
        if node is self._node and entries == shown:
            return
        chosen = selector.currentData if node is self._node else ""
        self._node = node
        wasBlocked = selector.blockSignals(True)
        selector.clear()
        for text, segmentId in entries:
            selector.addItem(text, segmentId)
        selector.setCurrentIndex(max(selector.findData(chosen), 0))
        selector.blockSignals(wasBlocked)
        selector.enabled = len(entries) > 1
