"""Between Slicer's nodes and LeanSeg's nouns. The only package that knows slicer, qt, ctk and vtk."""
