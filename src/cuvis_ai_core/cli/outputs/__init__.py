"""Outputs as files, written tile after tile: the archive of NumPy, ENVI, GeoTIFF, Zarr."""
