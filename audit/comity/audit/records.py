"""How an entry stands in the write-ahead file: its bytes, its openings and its attachments, in one frame."""

from comity.audit.entry import Opening, SealedEntry, parse_entry, to_milliseconds
from comity.audit.errors import EntryInvalid, LogDamaged
from comity.audit.wal import Frame, pack, unpack

_OPENING, _ATTACHMENT = b"o", b"a"


def encode_record(sealed: SealedEntry) -> bytes:
    """Return the payload of the entry's frame."""
    fields = [sealed.leaf]
    for opening in sealed.openings:
        fields += (_OPENING, opening.name.encode(), opening.salt, opening.value.encode())
    for name, data in sealed.attachments.items():
        fields += (_ATTACHMENT, name.encode(), data)
    return pack(fields)


def decode_record(frame: Frame) -> SealedEntry:
    """Return the entry of a frame. Raises `LogDamaged` if it is not one that `encode_record` wrote."""
    try:
        leaf, *rest = unpack(frame.payload)
        entry = parse_entry(leaf)
        openings: list[Opening] = []
        attachments: dict[str, bytes] = {}
        while rest:
            if rest[0] == _OPENING:
                _, name, salt, value, *rest = rest
                openings.append(Opening(name=name.decode(), salt=salt, value=value.decode()))
            elif rest[0] == _ATTACHMENT:
                _, name, data, *rest = rest
                attachments[name.decode()] = data
            else:
                raise ValueError("unknown field")
    except (EntryInvalid, ValueError) as problem:
        raise LogDamaged(
            f"write-ahead file: entry {frame.index} is not in the form that it was written"
        ) from problem
    return SealedEntry(
        kind=entry.kind,
        at_ms=to_milliseconds(entry.at),
        exchange=entry.exchange,
        leaf=leaf,
        openings=tuple(openings),
        attachments=attachments,
    )
