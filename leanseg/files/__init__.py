"""Image files in, segmentations out. The only package that knows file formats and the LPS axes of ITK and DICOM."""
