"""Indices of a few bands, found by their wavelengths: named ones, or any expression."""

import ast
from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import Any, ClassVar, Final

from array_api_compat import array_namespace

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, SCORES, WAVELENGTHS, Array, as_in, numbers_of, to_float64

NAMED: Final[Mapping[str, tuple[str, str]]] = {
    "NDVI": ("(R800 - R670) / (R800 + R670)", "Rouse et al. 1974, NASA SP-351, 309-317"),
    "NDWI": ("(R560 - R860) / (R560 + R860)", "McFeeters 1996, doi:10.1080/01431169608948714"),
    "NDMI": ("(R860 - R1640) / (R860 + R1640)", "Gao 1996, doi:10.1016/S0034-4257(96)00067-3, at 1640 nm"),
    "NDSI": ("(R560 - R1640) / (R560 + R1640)", "Hall et al. 1995, doi:10.1016/0034-4257(95)00137-P"),
    "NBR": ("(R860 - R2200) / (R860 + R2200)", "Key and Benson 2006, RMRS-GTR-164-CD"),
    "NDRE": ("(R790 - R720) / (R790 + R720)", "Barnes et al. 2000, Fifth Conference on Precision Agriculture"),
    "EVI": (
        "2.5 * (R860 - R660) / (R860 + 6 * R660 - 7.5 * R470 + 1)",
        "Huete et al. 2002, doi:10.1016/S0034-4257(02)00096-2",
    ),
    "SAVI": ("1.5 * (R860 - R660) / (R860 + R660 + 0.5)", "Huete 1988, doi:10.1016/0034-4257(88)90106-X"),
    "PRI": ("(R531 - R570) / (R531 + R570)", "Gamon et al. 1992, doi:10.1016/0034-4257(92)90059-S"),
    "ARI": ("1 / R550 - 1 / R700", "Gitelson et al. 2001, doi:10.1562/0031-8655(2001)074<0038:OPANEO>2.0.CO;2"),
    "CRI": ("1 / R510 - 1 / R550", "Gitelson et al. 2002, doi:10.1562/0031-8655(2002)075<0272:ACCIPL>2.0.CO;2"),
    "MCARI": (
        "((R700 - R670) - 0.2 * (R700 - R550)) * (R700 / R670)",
        "Daughtry et al. 2000, doi:10.1016/S0034-4257(00)00113-9",
    ),
    "WBI": ("R900 / R970", "Penuelas et al. 1993, doi:10.1080/01431169308954010"),
    "CAI": ("0.5 * (R2000 + R2200) - R2100", "Nagler et al. 2003, doi:10.1016/j.rse.2003.06.001"),
}
"""Name to expression and source; `R800` is the reflectance (0 to 1) at 800 nm."""

_OPERATORS: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
    ast.Pow: lambda left, right: left**right,
}
_LONGEST: Final = 500
"""Characters of an expression."""


class SpectralIndex(ArrayNode):
    """Compute an index of a few bands of each pixel, by its name or an expression.

    The named ones and their sources are in `NAMED`. In an expression stand numbers, `+ - * / **`, brackets, and `R`
    with a wavelength in nm: `(R800 - R670) / (R800 + R670)`. Each takes the band nearest to it. Where the answer is no
    finite number, as for a divisor of 0, it is not a number.

    Args:
        index: A name of `NAMED`, in upper or lower case, or an expression.
        tolerance_nm: How far the centre of a band may lie from its wavelength.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE, "wavelengths": WAVELENGTHS}
    OUTPUT_SPECS: ClassVar = {"index": SCORES}

    per_pixel = True
    thread_safe = True

    def __init__(
        self,
        index: str = "NDVI",
        tolerance_nm: float = 20.0,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, index=index, tolerance_nm=tolerance_nm)
        expression = NAMED[index.upper()][0] if index.upper() in NAMED else index
        self.tolerance_nm = tolerance_nm
        self._tree = _parsed(expression)

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Compute the index of each pixel.

        Raises:
            ValueError: No band lies near a wavelength of the index.
        """
        xp, values = to_float64(cube)
        centres = numbers_of(wavelengths)

        def band(nm: float) -> Array:
            nearest = int(abs(centres - nm).argmin())
            if abs(centres[nearest] - nm) > self.tolerance_nm:
                taken = centres[centres > 0]
                raise ValueError(
                    f"No band lies within {self.tolerance_nm:g} nm of {nm:g} nm: the bands of this cube lie between "
                    f"{taken.min():g} and {taken.max():g} nm, the nearest at {centres[nearest]:g} nm."
                )
            found = values[..., nearest : nearest + 1]
            return xp.where(xp.isfinite(found), found, nan)

        return {"index": as_in(cube, _finite(_evaluated(self._tree, band, values)))}


def _finite(values: Array) -> Array:
    xp = array_namespace(values)
    return xp.where(xp.isfinite(values), values, nan)


def _parsed(expression: str) -> ast.expr:
    """Return an expression of numbers, operators and bands, and of nothing else.

    Raises:
        ValueError: It is something else.
    """
    rule = f"An index is one of {', '.join(NAMED)}, or an expression such as (R800 - R670) / (R800 + R670)."
    try:
        tree = ast.parse(expression[: _LONGEST + 1].strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"The index '{expression}' cannot be read. {rule}") from error
    if len(expression) > _LONGEST or not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
        raise ValueError(f"The index '{expression[:_LONGEST]}' has no band in it, or is too long. {rule}")
    for node in ast.walk(tree):
        if not _is_allowed(node):
            raise ValueError(f"The index '{expression}' has '{ast.unparse(node)}' in it, which is not read. {rule}")
    return tree


def _is_allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id[:1] in {"R", "r"} and node.id[1:].isdecimal()
    if isinstance(node, ast.Constant):
        return type(node.value) in {int, float}
    if isinstance(node, ast.BinOp):
        return type(node.op) in _OPERATORS
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub)
    return isinstance(node, ast.operator | ast.unaryop | ast.expr_context)


def _evaluated(tree: ast.expr, band: Callable[[float], Array], like: Array) -> Array:
    if isinstance(tree, ast.Name):
        return band(float(tree.id[1:]))
    if isinstance(tree, ast.UnaryOp):
        return -_evaluated(tree.operand, band, like)
    if isinstance(tree, ast.BinOp):
        left, right = (_evaluated(side, band, like) for side in (tree.left, tree.right))
        if isinstance(tree.op, ast.Div) and hasattr(right, "shape"):
            right = array_namespace(right).where(right == 0, nan, right)
        return _OPERATORS[type(tree.op)](left, right)
    assert isinstance(tree, ast.Constant)
    return float(tree.value)  # type: ignore[arg-type] # a number, as was checked
