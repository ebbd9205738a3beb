"""What a policy file may say: its schema, which `docs/reference/policy.schema.json` holds for editors."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Strict, Tag
from pydantic_core import PydanticKnownError

from cuvis_ai_core.plugins.policy import patterns

Kind: TypeAlias = Literal["official", "private", "community"]

_Text: TypeAlias = Annotated[str, Strict()]
# Strict: pydantic takes 'yes', 'on' and 1 for true.
_Flag: TypeAlias = Annotated[bool, Strict()]

# Built when they are first used: where there is no policy, nobody needs the validators.
_STRICT: Final = ConfigDict(extra="forbid", frozen=True, defer_build=True)

RULE_KEYS: Final = ("repo", "path", "distribution")
"""Of which one says what a rule is about."""


def _listed(rules: object) -> object:
    if not isinstance(rules, list | tuple):
        raise PydanticKnownError("list_type")
    return rules


def _subject(rule: object) -> str | None:
    keys = type(rule).model_fields if isinstance(rule, BaseModel) else rule if isinstance(rule, Mapping) else ()
    named = [key for key in RULE_KEYS if key in keys]
    return named[0] if len(named) == 1 else None


class _Rule(BaseModel):
    """What all rules have."""

    model_config = _STRICT

    kind: Kind = Field(
        default="private",
        description="What plugins of this rule are: official, private, or community, which is all else.",
    )


class RepoRule(_Rule):
    """A rule for plugins from Git repositories."""

    repo: Annotated[_Text, AfterValidator(patterns.check_repo)] = Field(
        description="Pattern of addresses: * stands for signs within one part of the path, ** for any number of parts.",
        examples=["https://github.com/our-lab/*"],
    )
    signed_by: _Text | None = Field(
        default=None, description="Name below 'signers': only tags that one of them signed are loaded."
    )


class PathRule(_Rule):
    """A rule for plugins from folders of this machine."""

    path: Annotated[_Text, AfterValidator(patterns.check_path)] = Field(
        description="Pattern of folders: absolute, or relative to this file; ~ is the home folder. Links are followed.",
        examples=["/srv/plugins/*"],
    )


class DistributionRule(_Rule):
    """A rule for plugins that were installed by pip."""

    distribution: Annotated[_Text, AfterValidator(patterns.check_distribution)] = Field(
        description="Pattern of names of distributions.", examples=["cuvis-ai-*"]
    )


class Require(BaseModel):
    """What is asked of every plugin beside that."""

    model_config = _STRICT

    lock: _Flag = Field(default=False, description="Plugins are loaded by a manifest with a lock file only.")
    bounded_dependencies: _Flag = Field(
        default=False, description="Every dependency of a plugin has an upper bound on its version."
    )
    wheels_only: _Flag = Field(default=False, description="No dependency is built from source.")


Rule: TypeAlias = RepoRule | PathRule | DistributionRule


class PolicyFile(BaseModel):
    """Which plugins may be loaded on this machine."""

    model_config = _STRICT

    allow: Annotated[
        tuple[
            Annotated[
                Annotated[RepoRule, Tag("repo")]
                | Annotated[PathRule, Tag("path")]
                | Annotated[DistributionRule, Tag("distribution")],
                Discriminator(_subject),
            ],
            ...,
        ],
        BeforeValidator(_listed),
    ] = Field(description="The first rule that fits a plugin decides; what none fits is not loaded.")
    signers: dict[_Text, _Text] = Field(
        default_factory=dict,
        description="Name to an SSH allowed-signers file, or a folder of OpenPGP keys, seen from this file.",
    )
    require: Require = Field(default=Require(), description="What is asked of every plugin beside that.")
    isolation: dict[Kind, Literal["scoped", "process"]] = Field(
        default_factory=dict,
        description="Kind of plugin to where it runs: with process, apart, whatever its manifest says.",
    )


MODELS: Final[Mapping[str, type[BaseModel]]] = {"repo": RepoRule, "path": PathRule, "distribution": DistributionRule}


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy, for editors; `docs/reference/policy.schema.json` holds it."""
    schema = PolicyFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
