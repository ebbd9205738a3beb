from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from cuvis_ai_core.errors import InvalidNodeError, NodeNotFoundError, PipelineError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline

PipelineOf = Callable[..., Pipeline]


class Strict(ArrayNode):
    """Names its parameters and takes no other."""

    def __init__(self, threshold: float, bands: list[int] | None = None) -> None:
        super().__init__(threshold=threshold)
        self.bands = bands
        if threshold < 0:
            raise ValueError("threshold must not be negative.")

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Plain:
    """A node class without our base classes."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"x": {"dtype": int, "shape": ()}}

    def forward(self) -> dict[str, Any]:
        """Return a number."""
        return {"x": 1}


@pytest.fixture
def registry(registry: Any) -> Any:
    """A registry that knows the classes of this file, too."""
    registry.classes |= {"Strict": Strict, "Plain": Plain, "json": dict}
    return registry


def test_nodes_get_their_name_and_parameters(pipeline_of: PipelineOf) -> None:
    """The parameters are the constructor's arguments; the name comes from the file."""
    node = pipeline_of({"double": ("Scale", {"factor": 3})}).nodes["double"]
    assert (node.name, node.hparams) == ("double", {"factor": 3})


def test_parameters_pass_through_subclasses(pipeline_of: PipelineOf, registry: Any) -> None:
    """Behind `**kwargs` stand the parameters of the base classes; stages are one of them."""
    registry.classes["Sub"] = type("Sub", (registry.classes["Scale"],), {})
    node = pipeline_of({"n": ("Sub", {"factor": 3, "execution_stages": ["train"]})}).nodes["n"]
    assert (node.hparams, node.execution_stages) == ({"factor": 3}, {"train"})


def test_a_node_class_needs_no_base_class(pipeline_of: PipelineOf) -> None:
    """Ports and `forward` are enough, and such a node always runs."""
    assert pipeline_of({"n": "Plain"}).forward({}, stage="train") == {("n", "x"): 1}


def test_a_node_cannot_change_the_file(pipeline_of: PipelineOf) -> None:
    """A node gets a copy of its parameters."""
    pipeline = pipeline_of({"n": ("Strict", {"threshold": 1, "bands": [1]})})
    pipeline.nodes["n"].bands.append(2)
    assert pipeline.to_dict()["nodes"][0]["params"] == {"threshold": 1, "bands": [1]}


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        (("Strict", {"treshold": 1}), r"has no parameter 'treshold'; did you mean 'threshold'\?"),
        (("Strict", {"threshold": 1, "zzz": 1}), r"has no parameter 'zzz'\."),
        (("Strict", {}), "cannot be built: missing a required argument: 'threshold'"),
        (
            ("Strict", {"threshold": -1}),
            r"cannot be built: threshold must not be negative \(.*test_node_construction\.py, line \d+\)\.\n",
        ),
        (("Strict", {"threshold": "x"}), "cannot be built: '<' not supported"),
        (("Scale", {"name": "other"}), "takes its name from the key 'name'"),
        (("Scale", {"facotr": 3}), r"has no parameter 'facotr'; did you mean 'factor'\?"),
        (("Scale", {"execution_stages": ["trian"]}), "cannot be built: .*unknown execution stage 'trian'"),
    ],
)
def test_a_refused_parameter_is_an_error_with_the_accepted_ones(
    pipeline_of: PipelineOf, node: Any, problem: str
) -> None:
    """The message has node, class, problem and the parameters; no slip passes in `**kwargs`."""
    with pytest.raises(PipelineError, match=problem) as error:
        pipeline_of({"n": node})
    assert f"Node 'n' ({node[0]})" in str(error.value)
    shown = "threshold, bands=None" if node[0] == "Strict" else "factor=2.0"
    assert shown in (error.value.hint or "")


def test_a_keyword_that_the_class_takes_itself_is_fine(pipeline_of: PipelineOf, registry: Any) -> None:
    """Not every class names all it takes."""
    registry.classes["Popping"] = type(
        "Popping",
        (registry.classes["Scale"],),
        {"__init__": lambda self, **others: ArrayNode.__init__(self, factor=others.pop("gain"), **others)},
    )
    assert pipeline_of({"n": ("Popping", {"gain": 4})}).nodes["n"].hparams == {"factor": 4}


def test_keywords_that_a_constructor_takes_itself_and_hands_on_are_fine(pipeline_of: PipelineOf, registry: Any) -> None:
    """As published nodes do; another keyword is still a slip of the pen."""

    class Popping(ArrayNode):
        def __init__(self, **kwargs: Any) -> None:
            name, stages = self.consume_base_kwargs(kwargs, {"train"})
            self.weight = kwargs.pop("weight", 1.0)
            super().__init__(name=name, execution_stages=stages, weight=self.weight, **kwargs)

        def forward(self) -> dict[str, Any]:
            return {}

    registry.classes["Popping"] = Popping
    node = pipeline_of({"n": ("Popping", {"weight": 4, "execution_stages": None})}).nodes["n"]
    assert (node.name, node.hparams) == ("n", {"weight": 4})
    assert node.execution_stages == {"train"}
    for slip in ("wieght", "node", "always"):
        with pytest.raises(PipelineError, match=f"has no parameter '{slip}'"):
            pipeline_of({"n": ("Popping", {slip: 4})})


def _get(node: Any, kwargs: dict[str, Any]) -> None:
    node.weight = kwargs.get("weight", 1.0)
    ArrayNode.__init__(node, **kwargs)


def _contains(node: Any, kwargs: dict[str, Any]) -> None:
    node.weight = 2.0 if "weight" in kwargs else 1.0
    ArrayNode.__init__(node, **kwargs)


def _late(node: Any, kwargs: dict[str, Any]) -> None:
    ArrayNode.__init__(node, **kwargs)
    node.weight = node.hparams.setdefault("weight", 1.0)


def _changed(node: Any, kwargs: dict[str, Any]) -> None:
    ArrayNode.__init__(node, **{**kwargs, "weight": float(kwargs["weight"])})


def _helper(node: Any, kwargs: dict[str, Any]) -> None:
    def take(weight: float = 1.0, **_: Any) -> None:
        node.weight = weight

    take(**kwargs)
    ArrayNode.__init__(node, **kwargs)


@pytest.mark.parametrize("way", [_get, _contains, _late, _changed, _helper])
def test_a_constructor_may_read_its_keywords_as_it_likes(
    pipeline_of: PipelineOf, registry: Any, way: Callable[[Any, dict[str, Any]], None]
) -> None:
    """It is asked, not read: what it looked up is its own, what nobody looked up is a slip of the pen."""

    def init(node: Any, **kwargs: Any) -> None:
        way(node, kwargs)

    registry.classes["Reading"] = type("Reading", (ArrayNode,), {"__init__": init, "forward": lambda self: {}})
    pipeline = pipeline_of({"n": ("Reading", {"weight": 4})})
    hparams = pipeline.nodes["n"].hparams
    assert (hparams, {type(key) for key in hparams}) == ({"weight": 4}, {str})
    params = pipeline.to_dict()["nodes"][0]["params"]
    assert (params, {type(key) for key in params}) == ({"weight": 4}, {str})
    with pytest.raises(PipelineError, match=r"has no parameter 'wieght'; did you mean 'weight'\?") as told:
        pipeline_of({"n": ("Reading", {"weight": 4, "wieght": 5})})
    assert "takes any keyword (**), and was asked: it hands 'wieght' on, and reads it nowhere" in str(told.value)


def test_the_constructors_of_all_base_classes_declare_parameters(pipeline_of: PipelineOf, registry: Any) -> None:
    """As long as each hands on what it does not know, in the order in which Python calls them."""

    class Thresholding:
        def __init__(self, *args: Any, threshold: float = 0.5, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.threshold = threshold

    scale: Any = registry.classes["Scale"]

    class Mixed(Thresholding, scale):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    registry.classes["Mixed"] = Mixed
    node = pipeline_of({"n": ("Mixed", {"threshold": 0.1, "factor": 3})}).nodes["n"]
    assert (node.threshold, node.hparams) == (0.1, {"factor": 3})
    with pytest.raises(
        PipelineError, match=r"did you mean 'threshold'\?\nParameters of Mixed: .*factor=2.0.*threshold=0.5"
    ):
        pipeline_of({"n": ("Mixed", {"treshold": 0.1})})


def test_the_cause_of_a_failed_constructor_is_kept(pipeline_of: PipelineOf) -> None:
    """`--debug` shows where the class gave up."""
    with pytest.raises(PipelineError) as error:
        pipeline_of({"n": ("Strict", {"threshold": -1})})
    assert isinstance(error.value.__cause__, ValueError)


def test_an_unknown_class_is_a_key_error_that_names_the_node_of_the_pipeline(registry: Any) -> None:
    """The registry's words come first, then who asks, and which plugins the file names."""
    config = {"plugins": ["adaclip"], "nodes": [{"name": "detector", "class_name": "AdaCLIPDetector"}]}
    with pytest.raises(KeyError) as error:
        Pipeline.from_dict(config, node_registry=registry)
    assert isinstance(error.value, NodeNotFoundError)
    text = str(error.value)
    assert text.startswith("Node 'AdaCLIPDetector' not found in registry.")
    assert "Node 'detector' of the pipeline asks for it." in text
    assert "names the plugins it needs: adaclip." in text


def test_a_class_that_is_no_node_is_an_error(pipeline_of: PipelineOf) -> None:
    """Any class can be found by its path; not any can run."""
    with pytest.raises(PipelineError, match="Node 'n': json is no node class"):
        pipeline_of({"n": "json"})


def test_two_nodes_of_one_name_are_an_error(registry: Any) -> None:
    """The message proposes a free name."""
    node = {"name": "twin", "class_name": "Scale"}
    with pytest.raises(PipelineError, match=r"Two nodes are named 'twin'[\s\S]*'twin-1'"):
        Pipeline.from_dict({"nodes": [node, node]}, node_registry=registry)


def test_a_size_that_the_node_does_not_have_is_an_error(
    pipeline_of: PipelineOf, make_class: Callable[..., type]
) -> None:
    """Symbolic sizes are read when the pipeline is built."""
    make_class("Sized", lambda self, cube: {}, {"cube": {"dtype": "float32", "shape": ("bands",)}})
    with pytest.raises(InvalidNodeError, match="symbolic size 'bands'"):
        pipeline_of({"n": "Sized"})
