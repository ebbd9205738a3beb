"""What every part of a trainrun file has in common."""

from collections.abc import Mapping
from typing import Annotated

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
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or not cls._has_default(key)}

    @classmethod
    def _has_default(cls, key: object) -> bool:
        field = cls.model_fields.get(str(key))
        return field is not None and not field.is_required()
