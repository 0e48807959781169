"""Changes inputs as somebody would who knows the contract: fields, frames, nested messages, then bytes.

A message is taken apart by its descriptor, so that what is inside is reached: a field gets a boundary value
or another input's, is dropped or doubled; bytes that hold a message in turn are taken apart as well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message

from comity.links.sessions.codec import PREFIX_BYTES, encode
from comity.v1 import account_pb2, query_pb2, result_pb2, session_pb2

_NUMBERS = (0, 1, 2, 3, 127, 128, 255, 4095, 4096, 8192, 65_535, 1 << 20, (1 << 31) - 1)
_LARGE = (1 << 31, (1 << 32) - 1, (1 << 63) - 1)
_INSIDE: dict[str, tuple[type[Message], ...]] = {
    "payload": (query_pb2.Order, result_pb2.Receipt, account_pb2.Account),
    "leaves": (query_pb2.OrderLeaf, result_pb2.ResultDetail, result_pb2.Page),
    "leaf": (query_pb2.OrderLeaf,),
    "query": (query_pb2.Query,),
    "detail": (result_pb2.ResultDetail,),
    "page": (result_pb2.Page,),
}
"""What bytes of a name may hold."""
_WORDS = ("", "lapd", "lahd", "sheriff", "operator", "x" * 300, "\x00", "\u202e", "spiffe://", "é" * 40)
_BRACKETS = (
    b"[" * 400,
    b'{"payload":' * 200,
    b'"\\ud800"',
    b"1e999",
    b"null",
    b'"payloadType":""',
    b"\xff\xfe",
)


class Mutator:
    """Makes new inputs of old ones. Equal seeds give equal inputs."""

    def __init__(self, roots: Sequence[type[Message] | None], seed: int) -> None:
        self.dice = random.Random(seed)
        self._roots = roots

    def mutate(self, data: bytes, other: bytes, largest: int) -> bytes:
        """Return a changed copy of `data`, of at most `largest` bytes; `other` is an input to borrow from."""
        dice = self.dice
        first = data[0] if data else 0
        if dice.random() < 0.03:
            first = dice.choice((first ^ 0x80, dice.randrange(256)))
        rest = data[1:]
        root = self._roots[(data[0] if data else 0) % len(self._roots)]
        if root is not None and dice.random() < 0.85:
            rest = self._structured(root, rest, other[1:])
        if root is None or dice.random() < 0.15:
            rest = self._bytes(rest, other[1:])
        return bytes([first]) + rest[: largest - 1]

    def _structured(self, root: type[Message], data: bytes, other: bytes) -> bytes:
        try:
            message = root.FromString(data)
        except DecodeError:  # broken before: that is tried often enough
            try:
                message = root.FromString(other)
            except DecodeError:
                return self._bytes(data, other)
        try:
            donor: Message | None = root.FromString(other)
        except DecodeError:
            donor = None
        for _ in range(self.dice.choice((1, 1, 1, 2, 3, 6))):
            self._change(message, donor)
        try:
            return message.SerializeToString()
        except (EncodeError, ValueError):  # deeper than may be written
            return data

    def _change(self, message: Message, donor: Message | None) -> None:
        """Change one thing in `message`, more often deep inside than here."""
        dice = self.dice
        held = [field for field, _ in message.ListFields()]
        fields = held if held and dice.random() < 0.85 else list(message.DESCRIPTOR.fields)
        if not fields:
            return
        field = dice.choice(fields)
        if dice.random() < 0.04:
            message.ClearField(field.name)
        elif field.is_repeated:
            self._repeated(message, field, donor)
        elif field.message_type is not None:
            given = getattr(donor, field.name, None) if donor is not None else None
            if given is not None and dice.random() < 0.1:
                getattr(message, field.name).CopyFrom(given)
            else:
                self._change(getattr(message, field.name), given)
        else:
            _put(message, field.name, self._scalar(field, getattr(message, field.name)))

    def _repeated(self, message: Message, field: FieldDescriptor, donor: Message | None) -> None:
        dice, items = self.dice, getattr(message, field.name)
        given = list(getattr(donor, field.name)) if donor is not None else []
        what = dice.random()
        if what < 0.6 and items:
            index = dice.randrange(len(items))
            if field.message_type is not None:
                self._change(items[index], dice.choice(given) if given else None)
            else:
                values = list(items)
                values[index] = self._scalar(field, values[index])
                _refill(message, field.name, values)
            return
        values = list(items)
        if what < 0.72 and values:
            del values[dice.randrange(len(values))]
        elif what < 0.84 and values:
            values.insert(dice.randrange(len(values) + 1), dice.choice(values))
        elif what < 0.92 and given:
            values.insert(dice.randrange(len(values) + 1), dice.choice(given))
        else:
            dice.shuffle(values)
        _refill(message, field.name, values[:200])

    def _scalar(self, field: FieldDescriptor, value: Any) -> Any:
        dice = self.dice
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return self._held(field.name, value)
            case FieldDescriptor.CPPTYPE_STRING:
                return dice.choice((*_WORDS, value[::-1], value.upper(), value + value))
            case FieldDescriptor.CPPTYPE_BOOL:
                return not value
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return dice.choice((0.0, -1.0, 1e308, float("nan"), float("inf"), value + 1))
            case FieldDescriptor.CPPTYPE_ENUM:
                return dice.choice((0, 1, 2, 3, 7, 77, -1))
            case _:
                return dice.choice(
                    (*_NUMBERS, *_LARGE, value + 1, value - 1, -1, -62_135_596_801, 253_402_300_800)
                )

    def _held(self, name: str, value: bytes) -> bytes:
        """Return other bytes for a field, inside the message that it holds if it holds one."""
        dice = self.dice
        if name == "records" and len(value) > PREFIX_BYTES and dice.random() < 0.8:
            try:
                message = session_pb2.SessionMessage.FromString(value[PREFIX_BYTES:])
                message.ClearField("padding")
                self._change(message, None)
                return encode(message)
            except (DecodeError, ValueError):
                pass
        kinds = _INSIDE.get(name)
        if kinds and dice.random() < 0.8:
            return self._structured(dice.choice(kinds), value, b"")
        return self._bytes(value, b"")

    def _bytes(self, data: bytes, other: bytes) -> bytes:
        """Change some bytes, whatever they mean."""
        dice, changed = self.dice, bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 4))):
            place = dice.randrange(len(changed) + 1)
            match dice.randrange(8):
                case 0 if changed:
                    changed[place % len(changed)] ^= 1 << dice.randrange(8)
                case 1 if changed:
                    changed[place % len(changed)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
                case 2:
                    del changed[place : place + dice.choice((1, 2, 8, 64))]
                case 3:
                    changed[place:place] = changed[place : place + dice.choice((1, 4, 40, 400))]
                case 4:
                    del changed[place:]
                case 5:
                    changed[place:place] = dice.choice(_BRACKETS)
                case 6 if other:
                    start = dice.randrange(len(other))
                    changed[place:place] = other[start : start + dice.choice((4, 40, 400))]
                case _:
                    changed[place:place] = dice.randbytes(dice.choice((1, 3, 16)))
        return bytes(changed)


def _put(message: Message, name: str, value: Any) -> None:
    """Set a field, unless the value is none of its type."""
    try:
        setattr(message, name, value)
    except (ValueError, TypeError):
        return


def _refill(message: Message, name: str, values: Sequence[Any]) -> None:
    copies = [
        type(value).FromString(value.SerializeToString()) if isinstance(value, Message) else value
        for value in values
    ]
    message.ClearField(name)
    try:
        getattr(message, name).extend(copies)
    except (ValueError, TypeError):
        return
