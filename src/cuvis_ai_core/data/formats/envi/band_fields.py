"""What an ENVI header says about the bands: wavelengths, widths, and which are bad."""

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.formats.envi.header_fields import EnviHeader, Numbers
from cuvis_ai_core.data.wavelength_texts import lengths_in
from cuvis_ai_core.data.wavelength_units import in_nanometres
from cuvis_ai_core.errors import CubeError


def read_bands(header: EnviHeader) -> tuple[Numbers | None, Numbers | None, NDArray[np.bool_] | None]:
    """Return wavelengths and widths in nm, and which bands are good; None for what the header does not say.

    A list of wavelengths or widths that does not fit the bands, or is in a unit that nobody knows, is left out with a
    remark: what needs it will say so. A band with a wavelength of 0 or less, or NaN, was not taken: it is bad, and its
    wavelength is 0 or less.

    Raises:
        CubeError: The list of bad bands does not fit.
    """
    bbl = header.per_band("bbl")
    good = None if bbl is None else bbl > 0
    stated = _fitting(header, "wavelength")
    # Names such as '650.2 nm' say as much as the list that is missing.
    if stated is None and (named := _named(header)):
        header.remarks.append("The wavelengths are those in the names of the bands.")
        return *in_nanometres(*named, None, header.remarks, "header"), good
    fwhm = None if stated is None else _fitting(header, "fwhm")
    return *in_nanometres(stated, header.text("wavelength units"), fwhm, header.remarks, "header"), good


def _named(header: EnviHeader) -> tuple[Numbers, str] | None:
    """Return the wavelengths in the names of the bands, with their unit, if each has one."""
    names = header.fields.get("band names", ())
    found = lengths_in(names) if isinstance(names, list) and len(names) == header.shape[2] else None
    return found if found and found[1] else None


def _fitting(header: EnviHeader, name: str) -> Numbers | None:
    bands = header.shape[2]
    try:
        values = header.numbers(name)
    except CubeError as error:
        header.remarks.append(f"{error.message} It was left out.")
        return None
    if values is None or len(values) == bands:
        return values
    header.remarks.append(
        f"The list '{name}' in the header has {len(values)} values for {bands} bands; it was left out."
    )
    return None
