"""Readers of ENVI, of session files, and of formats that need a library of their own, each an extra of this package.

A reader opens its file and makes of what it finds an image of which pieces are read (`stored_image`): sizes are known,
and can be refused, before values are read. Formats whose arrays have names and attributes (HDF5, NetCDF, Zarr, MATLAB)
share how the cube among them, its axes, bands and place are found (`variable_choice`, `axis_order`, `band_wavelengths`,
`cf_conventions`).
"""
