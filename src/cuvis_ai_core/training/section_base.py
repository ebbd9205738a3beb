"""What every part of a trainrun file has in common."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_several, json_schema_input_type=str | list[str])]
"""A list of texts; one text stands for a list of one."""


class Section(BaseModel):
    """A part of the file; keys that it does not know are errors, and nothing behind a colon means the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, data: object) -> object:
        if isinstance(data, BaseModel) and not isinstance(data, cls):
            # A model of the schemas, as published programs put theirs into ours: what was given of it.
            data = data.model_dump(exclude_unset=True)
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or not cls._has_default(key)}

    @classmethod
    def _has_default(cls, key: object) -> bool:
        field = cls.model_fields.get(str(key))
        return field is not None and not field.is_required()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the section with this content, as published programs make one.

        Raises:
            ValidationError: It breaks a rule.
        """
        return cls.model_validate(dict(data))

    def to_dict(self) -> dict[str, Any]:
        """Return what was given, without what is left at its default."""
        # Without defaults: those of a later version then hold for files of today.
        return self.model_dump(mode="json", exclude_unset=True)
