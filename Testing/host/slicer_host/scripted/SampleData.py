"""Slicer's SampleData module as far as sources are registered with it and loaded by their names."""

from dataclasses import dataclass, field
from typing import ClassVar

from slicer_host.record import Recorded


@dataclass
class SampleDataSource:
    """What `registerCustomSampleDataSource` was called with."""

    sampleName: str
    category: str
    thumbnailFileName: str | None = None
    uris: str | list | None = None
    fileNames: str | list | None = None
    nodeNames: str | list | None = None
    customDownloader: object = None
    options: dict = field(default_factory=dict)


class SampleDataLogic(Recorded):
    """Registered sources by category, and loading those that bring a loader of their own (nothing is downloaded)."""

    sources: ClassVar[dict[str, list[SampleDataSource]]] = {}

    @classmethod
    def registerCustomSampleDataCategory(cls, category, title=None):
        cls.sources.setdefault(category, [])

    @classmethod
    def registerCustomSampleDataSource(cls, category="Custom", sampleName=None, **options):
        known = {name: options.pop(name) for name in SampleDataSource.__dataclass_fields__ if name in options}
        cls.sources.setdefault(category, []).append(SampleDataSource(sampleName, category, **known, options=options))

    def sourceForSampleName(self, sampleName):
        return next(
            (each for listed in self.sources.values() for each in listed if each.sampleName == sampleName), None
        )

    def downloadSample(self, sampleName):
        """Call the source's own loader, as the button of the SampleData module does."""
        return self.sourceForSampleName(sampleName).customDownloader(self.sourceForSampleName(sampleName))
