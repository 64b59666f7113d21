"""Reads ClientHellos byte by byte (RFC 8446 §4.1.2) and says what is constant about a set of them.

No TLS library is used: this is the independent reader that both the browser's hellos and ours are compared with.
"""

import hashlib
from collections import Counter

SERVER_NAME, GROUPS, SIGNATURES, ALPN, VERSIONS, KEY_SHARE = 0, 10, 13, 16, 43, 51
ECH = 0xFE0D


def grease(value: int) -> bool:
    """RFC 8701 §2."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def name(value: int) -> str:
    return "GREASE" if grease(value) else f"{value:04x}"


class Reader:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def more(self) -> bool:
        return self.at < len(self.data)


def words(data: bytes) -> list[int]:
    if len(data) % 2:
        raise ValueError("an odd list of two-byte values")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


class Hello:
    """One ClientHello, with the record it came in."""

    def __init__(self, record: bytes):
        reader = Reader(record)
        if reader.number(1) != 22:
            raise ValueError("not a handshake record")
        self.record_version = reader.take(2).hex()
        body = Reader(reader.vector(2))
        self.records = 1
        self.trailing = len(record) - reader.at
        if body.number(1) != 1:
            raise ValueError("not a ClientHello")
        hello = Reader(body.vector(3))
        if body.more():
            raise ValueError("something follows the hello in its record")
        self.length = len(hello.data) + 4
        self.version = hello.take(2).hex()
        self.random = hello.take(32)
        self.session_id = hello.vector(1)
        self.ciphers = words(hello.vector(2))
        self.compression = hello.vector(1).hex()
        extensions = Reader(hello.vector(2))
        if hello.more():
            raise ValueError("something follows the extensions")
        self.extensions: list[tuple[int, bytes]] = []
        while extensions.more():
            kind = extensions.number(2)
            self.extensions.append((kind, extensions.vector(2)))
        self.kinds = [kind for kind, _ in self.extensions]
        self.bodies = dict(self.extensions)
        if len(self.bodies) != len(self.extensions):
            raise ValueError("an extension appears twice")

    def list_of(self, kind: int, size: int) -> list[int]:
        return words(Reader(self.bodies[kind]).vector(size))

    def shares(self) -> list[tuple[int, bytes]]:
        reader = Reader(Reader(self.bodies[KEY_SHARE]).vector(2))
        shares = []
        while reader.more():
            group = reader.number(2)
            shares.append((group, reader.vector(2)))
        return shares

    def ech(self) -> dict:
        """The shape of an outer ECH extension (RFC 9849 §5)."""
        reader = Reader(self.bodies[ECH])
        shape = {"type": reader.number(1), "kdf": name(reader.number(2)), "aead": name(reader.number(2))}
        reader.take(1)
        shape["enc"] = len(reader.vector(2))
        shape["payload"] = len(reader.vector(2))
        if reader.more():
            raise ValueError("something follows the ECH payload")
        return shape

    def body(self, kind: int) -> str:
        """An extension's body with everything random replaced by its shape."""
        if kind == SERVER_NAME:
            return f"{len(self.bodies[kind])} bytes"
        if kind in (GROUPS, SIGNATURES):
            return " ".join(map(name, self.list_of(kind, 2)))
        if kind == VERSIONS:
            return " ".join(map(name, self.list_of(kind, 1)))
        if kind == KEY_SHARE:
            return " ".join(f"{name(group)}({share.hex() if len(share) < 2 else len(share)})" for group, share in self.shares())
        if kind == ECH:
            return " ".join(f"{key}={value}" for key, value in self.ech().items())
        return self.bodies[kind].hex()

    def ja3(self, ordered: bool = True) -> str:
        """JA3, or with `ordered=False` its variant that sorts extension types (stable when they are shuffled)."""
        kinds = [kind for kind in self.kinds if not grease(kind)]
        parts = [
            [int(self.version, 16)],
            [value for value in self.ciphers if not grease(value)],
            kinds if ordered else sorted(kinds),
            [value for value in self.list_of(GROUPS, 2) if not grease(value)],
            list(Reader(self.bodies[11]).vector(1)) if 11 in self.bodies else [],
        ]
        return hashlib.md5(",".join("-".join(map(str, part)) for part in parts).encode()).hexdigest()

    def ja4(self) -> str:
        """JA4, GREASE ignored wherever it appears."""
        ciphers = [name(value) for value in self.ciphers if not grease(value)]
        kinds = [name(kind) for kind in self.kinds if not grease(kind)]
        versions = [value for value in self.list_of(VERSIONS, 1) if not grease(value)] if VERSIONS in self.bodies else [0x303]
        first = Reader(Reader(self.bodies[ALPN]).vector(2)).vector(1).decode() if ALPN in self.bodies else "00"
        label = {0x304: "13", 0x303: "12"}[max(versions)]
        head = f"t{label}{'d' if SERVER_NAME in self.bodies else 'i'}{len(ciphers):02}{len(kinds):02}{first[0]}{first[-1]}"
        signatures = [name(value) for value in self.list_of(SIGNATURES, 2) if not grease(value)]
        rest = sorted(kind for kind in kinds if kind not in ("0000", "0010"))
        cut = lambda text: hashlib.sha256(text.encode()).hexdigest()[:12]  # noqa: E731
        return f"{head}_{cut(','.join(sorted(ciphers)))}_{cut(','.join(rest) + '_' + ','.join(signatures))}"


def constants(hellos: list[Hello]) -> dict[str, list[str]]:
    """Every field and the values it takes over the set, sorted: what a browser's hellos have in common."""
    fields: dict[str, set[str]] = {}

    def note(field: str, value: object) -> None:
        fields.setdefault(field, set()).add(str(value))

    for hello in hellos:
        note("record version", hello.record_version)
        note("bytes after the record", hello.trailing)
        note("legacy version", hello.version)
        note("session id length", len(hello.session_id))
        note("cipher suites", " ".join(map(name, hello.ciphers)))
        note("compression", hello.compression)
        note("extension types", " ".join(sorted(name(kind) for kind in hello.kinds)))
        note("first extension", name(hello.kinds[0]))
        note("last extension", name(hello.kinds[-1]))
        odd = [kind for kind in hello.kinds if grease(kind)]
        for kind in hello.kinds:
            label = f"GREASE {odd.index(kind) + 1}" if grease(kind) else name(kind)
            note(f"extension {label}", hello.body(kind))
        note("hello length without the ECH payload", hello.length - (hello.ech()["payload"] if ECH in hello.bodies else 0))
        note("JA4", hello.ja4())
        note("JA3 with sorted extensions", hello.ja3(ordered=False))
        if GROUPS in hello.bodies and grease(hello.list_of(GROUPS, 2)[0]):
            note("GREASE group is the GREASE share's", hello.list_of(GROUPS, 2)[0] == hello.shares()[0][0])
        if len(odd) == 2:
            note("the GREASE extensions differ", odd[0] != odd[1])
        shares = dict(hello.shares())
        if 0x11EC in shares and 0x1D in shares:
            note("both X25519 shares are one key", shares[0x11EC][-32:] == shares[0x1D])
    return {field: sorted(values) for field, values in sorted(fields.items())}


def randomness(hellos: list[Hello]) -> list[str]:
    """What must vary over a set of hellos but does not; empty when all is well."""
    complaints = []
    for what, values in {
        "randoms": [hello.random for hello in hellos],
        "session ids": [hello.session_id for hello in hellos],
        "key shares": [share for hello in hellos for group, share in hello.shares() if not grease(group)],
        "JA3s": [hello.ja3() for hello in hellos],
    }.items():
        if len(set(values)) != len(values):
            complaints.append(f"{len(values)} {what}, but only {len(set(values))} different ones")
    # Extensions between the first and the last are shuffled: with 200 hellos each is seen in nearly every place.
    places: dict[int, set[int]] = {}
    for hello in hellos:
        for place, kind in enumerate(hello.kinds[1:-1]):
            places.setdefault(kind, set()).add(place)
    width = max(len(hello.kinds) for hello in hellos) - 2
    for kind, seen in places.items():
        if len(seen) < width - 3:
            complaints.append(f"extension {name(kind)} was seen in {len(seen)} of {width} places only")
    # GREASE values of a hello are drawn one by one: any two coincide in about a sixteenth of all hellos.
    drawn = {
        "cipher": lambda hello: hello.ciphers[0],
        "group": lambda hello: hello.list_of(GROUPS, 2)[0],
        "version": lambda hello: hello.list_of(VERSIONS, 1)[0],
        "signature": lambda hello: hello.list_of(SIGNATURES, 2)[0],
        "extension": lambda hello: hello.kinds[0],
    }
    drawn = {label: value for label, value in drawn.items() if all(grease(value(hello)) for hello in hellos)}
    for label, value in drawn.items():
        counts = Counter(value(hello) for hello in hellos)
        if len(counts) < 14:
            complaints.append(f"the {label} GREASE took {len(counts)} of 16 values only")
        for other, value_of_other in drawn.items():
            if label < other:
                same = sum(value(hello) == value_of_other(hello) for hello in hellos)
                if not 0 < same < len(hellos) / 5:
                    complaints.append(f"the {label} and {other} GREASE coincide in {same} of {len(hellos)} hellos")
    return complaints
