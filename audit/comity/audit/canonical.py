"""RFC 8785 for what entries hold: quick, since every entry goes through it before it can be acknowledged.

Text, whole numbers, truth values, null, arrays and objects; no fractions, whose form is the hard part of the
RFC. What is read back is checked with the `rfc8785` package, which the project did not write, and the tests
hold the two against each other.
"""

import base64
from json.encoder import encode_basestring
from typing import TypeAlias

JsonValue: TypeAlias = "str | int | bool | list[JsonValue] | dict[str, JsonValue] | None"
"""What a public field may hold: JSON without fractions, whose text is the same everywhere."""

MAX_INTEGER = (1 << 53) - 1
"""The largest whole number that every JSON reader keeps (RFC 8785, section 3.2.2.3; RFC 7493)."""


def canonical(value: JsonValue) -> bytes:
    """Return the value as RFC 8785 JSON.

    Raises `ValueError` for what has no such form here: fractions, numbers beyond 2**53 - 1, lone surrogates,
    names that are no text, other types.
    """
    return _text(value).encode()


def from_base64(text: str) -> bytes:
    """Return bytes from base64 in its one right form (RFC 4648, section 3.5); else raise `ValueError`.

    Without that, a character could be changed and nothing would be found.
    """
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 that is not canonical")
    return data


def _text(value: object) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("a number is beyond 2**53 - 1")
        return str(int(value))
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in _sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise ValueError(f"a value of type {type(value).__name__} has no canonical form")


def _sorted(value: dict[object, object]) -> list[str]:
    """Return names in the order of their UTF-16 code units (RFC 8785, section 3.2.3)."""
    names = [name for name in value if isinstance(name, str)]
    if len(names) != len(value):
        raise ValueError("a name is no text")
    if all(map(str.isascii, names)):
        return sorted(names)
    return sorted(names, key=lambda name: name.encode("utf-16-be"))
