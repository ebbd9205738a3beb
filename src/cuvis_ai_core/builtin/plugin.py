"""The hook implementations of the built-in plugin, apart from its node table."""

from collections.abc import Mapping

from cuvis_ai_hookspecs import hookimpl


@hookimpl
def cuvis_ai_cube_readers() -> Mapping[str, str]:
    """Return the readers by suffix, as text: a listing imports no NumPy, and a reader its library when it reads."""
    formats = "cuvis_ai_core.data.formats"
    hdf5, netcdf, tiff = f"{formats}.hdf5.read_hdf5", f"{formats}.netcdf.read_netcdf", f"{formats}.tiff.read_tiff"
    return {
        ".cu3s": "cuvis_ai_core.data.formats.cu3s.Cu3sFile",
        ".hdr": "cuvis_ai_core.data.formats.envi.reader.read_envi",
        ".npy": "cuvis_ai_core.data.numpy_files.read_npy",
        ".npz": "cuvis_ai_core.data.numpy_files.read_npz",
        **dict.fromkeys((".h5", ".hdf5", ".hdf", ".he5", ".h5py"), hdf5),
        **dict.fromkeys((".nc", ".nc4", ".cdf", ".netcdf"), netcdf),
        **dict.fromkeys((".tif", ".tiff", ".btf", ".tf8"), tiff),
        ".jp2": f"{formats}.geotiff.read_raster",
        ".mat": f"{formats}.matlab.read_matlab",
        **dict.fromkeys((".zarr", ".zarr.zip"), f"{formats}.zarr_store.read_zarr"),
    }
