"""Protocol-buffer messages as they lie in a file: tagged fields, without their schema.

Whole numbers in groups of seven bits, lowest first (varints); https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Mapping

_LONGEST_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Message:
    """The fields of one message by number; a field that is not there has the value 0, or is empty."""

    def __init__(self, data: bytes) -> None:
        """Raises ValueError where the bytes are no message."""
        self._fields: dict[int, list[tuple[int, int | bytes]]] = {}
        position = 0
        while position < len(data):
            tag, position = read_varint(data, position)
            number, kind = tag >> 3, tag & 7
            value: int | bytes
            if kind == _VARINT:
                value, position = read_varint(data, position)
            elif kind in (_FIXED64, _FIXED32, _BYTES):
                count = 8 if kind == _FIXED64 else 4
                if kind == _BYTES:
                    count, position = read_varint(data, position)
                if count > len(data) - position:
                    raise ValueError(f"field {number} of a message claims {count} bytes, past its end")
                value = data[position : position + count]
                position += count
                if kind != _BYTES:
                    value = int.from_bytes(value, "little")
            else:
                raise ValueError(f"field {number} of a message is of the unknown kind {kind}")
            self._fields.setdefault(number, []).append((kind, value))

    def number(self, field: int) -> int:
        """A whole number of 64 bits with its sign. Raises ValueError where the field is of another kind."""
        value = self._last(field, _VARINT)
        assert isinstance(value, int)
        return value - 2**64 if value >= 2**63 else value

    def fixed32(self, field: int) -> int:
        """A number of 32 bits without a sign. Raises ValueError where the field is of another kind."""
        value = self._last(field, _FIXED32)
        assert isinstance(value, int)
        return value

    def messages(self, field: int) -> list["Message"]:
        """The messages within, in order. Raises ValueError where the field is of another kind."""
        found = []
        for kind, value in self._fields.get(field, []):
            if not isinstance(value, bytes):
                raise ValueError(f"field {field} of a message is of kind {kind}, where {_BYTES} belongs")
            found.append(Message(value))
        return found

    def _last(self, field: int, wanted: int) -> int | bytes:
        kind, value = self._fields.get(field, [(wanted, 0)])[-1]
        if kind != wanted:
            raise ValueError(f"field {field} of a message is of kind {kind}, where {wanted} belongs")
        return value


def message(fields: Mapping[int, int | bytes | list[bytes]]) -> bytes:
    """The bytes of a message: whole numbers from 0 (0 is left out), and bytes, once or a list of them."""
    parts = []
    for number, value in sorted(fields.items()):
        if isinstance(value, int):
            if value:
                parts.append(varint(number << 3 | _VARINT) + varint(value))
            continue
        for item in value if isinstance(value, list) else [value]:
            parts.append(varint(number << 3 | _BYTES) + varint(len(item)) + item)
    return b"".join(parts)


def fixed32(field: int, value: int) -> bytes:
    """The bytes of one field of 32 bits, to stand after those of lower number."""
    return varint(field << 3 | _FIXED32) + value.to_bytes(4, "little")


def varint(value: int) -> bytes:
    """A whole number from 0 in as few bytes as it takes."""
    parts = bytearray()
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, of at most 64 bits, and where the next thing begins.

    Raises ValueError where the bytes end, or the number is longer than it need be.
    """
    value = 0
    for count in range(_LONGEST_VARINT):
        if position + count >= len(data):
            raise ValueError("it ends within a number")
        byte = data[position + count]
        value |= (byte & 127) << 7 * count
        if byte < 128:
            if value >= 2**64 or (byte == 0 and count):
                break
            return value, position + count + 1
    raise ValueError("a number in it is longer than 64 bits or than it need be")
